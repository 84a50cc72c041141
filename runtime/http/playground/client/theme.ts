/**
 * Light or dark: as the system says until the visitor says otherwise.
 */
const KEPT = "hubserve-theme";

export function setUpTheme(button: HTMLElement): void {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = read();

  function show(): void {
    if (chosen === undefined) root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", chosen);
    button.setAttribute("aria-pressed", String(isDark()));
  }
  function isDark(): boolean {
    return chosen === undefined ? dark.matches : chosen === "dark";
  }

  button.addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    show();
    try {
      localStorage.setItem(KEPT, chosen);
    } catch {
      // a browser may refuse to keep anything
    }
  });
  dark.addEventListener("change", show);
  show();
}

function read(): "light" | "dark" | undefined {
  try {
    const kept = localStorage.getItem(KEPT);
    return kept === "light" || kept === "dark" ? kept : undefined;
  } catch {
    return undefined;
  }
}
