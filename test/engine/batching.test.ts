import assert from "node:assert/strict";
import { test } from "node:test";
import { POLICIES, type BatchPolicy } from "../../runtime/engine/batching.ts";

/** What every policy must keep, whatever its idea. */
for (const [name, policy] of Object.entries<BatchPolicy>(POLICIES)) {
  test(`the policy "${name}" waits for ever when nothing waits`, () => {
    assert.deepEqual(policy([], 1000), { waitMs: Infinity });
  });

  test(`the policy "${name}" never takes more than waits, and takes something in the end`, () => {
    for (let size = 1; size <= 50; size++) {
      const waiting = Array.from({ length: size }, (_, i) => ({ enqueuedAtMs: i }));
      const cut = policy(waiting, 1_000_000);
      assert.ok(
        "take" in cut && cut.take >= 1 && cut.take <= size,
        `size ${size}: ${JSON.stringify(cut)}`,
      );
    }
  });
}

test('the policy "singly" takes one job at once', () => {
  assert.deepEqual(POLICIES.singly([{ enqueuedAtMs: 5 }, { enqueuedAtMs: 6 }], 6), { take: 1 });
});
