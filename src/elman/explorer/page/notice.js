// A short notice at the foot of the page, with one thing to do.
import { button, element } from "./dom.js";

export function createNotice(host) {
  const hide = () => { host.hidden = true; };
  return {
    offer(text, title, action) {
      host.replaceChildren(element("span", {}, text), button(title, () => { hide(); action(); }), button("×", hide, { "aria-label": "close" }));
      host.hidden = false;
    },
  };
}
