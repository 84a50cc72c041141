#!/bin/sh
# Starts the image as a strict cluster does: the root file system read-only, a user that nobody knows, no capabilities, no new
# privileges, only /tmp to write to. Asks health and a prediction, ends it with SIGTERM and looks at its exit code.
#
#   deploy/check-hardened.sh [image]        with docker, or podman; `CONTAINER=podman` chooses
set -eu

image=${1:-hubserve}
container=${CONTAINER:-$(command -v docker || command -v podman || true)}
if [ -z "$container" ]; then
  echo "Cannot check $image: found neither docker nor podman" >&2
  exit 2
fi
command -v curl >/dev/null || { echo "Cannot check $image: there is no curl" >&2; exit 2; }

# No user of the image, and another number each time.
user=$(( 100000 + $$ % 50000 ))

fail() {
  echo "Failed: $1; the container said:" >&2
  "$container" logs "$id" >&2 || true
  exit 1
}

id=$("$container" run --detach \
  --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
  --user "$user:$user" --env HOME=/ --env HF_HOME=/tmp/huggingface \
  --memory 2g --cpus 1 --pids-limit 200 \
  --publish 127.0.0.1::8080 \
  "$image" serve --model_name=emotion --model_dir=/app/model --http_port=8080)
trap '"$container" rm --force "$id" >/dev/null 2>&1 || true' EXIT

address=$("$container" port "$id" 8080/tcp | head -n 1)
waited=0
until curl --silent --fail --output /dev/null --max-time 5 "http://$address/v2/health/ready"; do
  waited=$(( waited + 1 ))
  [ "$waited" -lt 120 ] || fail "it is not ready after two minutes"
  [ "$("$container" inspect --format '{{.State.Running}}' "$id")" = true ] || fail "it ended"
  sleep 1
done
echo "Ready as user $user"

answer=$(curl --silent --fail --max-time 30 "http://$address/predictions/emotion" \
  --header 'Content-Type: application/json' --data '{"inputs":"I am quite excited how this will turn out"}') ||
  fail "a prediction was refused"
case $answer in
  *joy*) echo "Answered: $answer" ;;
  *) fail "the answer is $answer" ;;
esac

curl --silent --fail --head --output /dev/null --max-time 5 "http://$address/v2/health/live" || fail "HEAD on health was refused"

"$container" stop --time 30 "$id" >/dev/null
code=$("$container" inspect --format '{{.State.ExitCode}}' "$id")
[ "$code" = 0 ] || fail "it ended with $code after SIGTERM"
echo "Ended with 0 after SIGTERM"
