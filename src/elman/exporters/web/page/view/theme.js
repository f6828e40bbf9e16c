// The theme of the system until the button chooses one; it is not stored, so that the page leaves nothing behind.
export function startTheme(button) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = (isDark) => {
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    button.textContent = isDark ? "Light" : "Dark";
    button.setAttribute("aria-label", `${button.textContent} colours`);
    dispatchEvent(new Event("themechange"));
  };
  button.hidden = false;
  button.addEventListener("click", () => apply(document.documentElement.dataset.theme !== "dark"));
  dark.addEventListener("change", () => apply(dark.matches));
  apply(dark.matches);
}
