// The lesson beside the picture: chapters that move it as one reads, and words in the text that do.

// `data-do` of a chapter or a word is a list of "action argument", separated by "|".
function perform(actions, text, allowed = () => true) {
  for (const part of text.split("|")) {
    const [name, ...rest] = part.trim().split(" ");
    if (allowed(name)) actions[name]?.(rest.join(" "));
  }
}

export function createLesson(host, actions, allowed, moved) {
  const chapters = [...host.querySelectorAll(".chapter")], links = document.getElementById("chapters");
  let current = 0, quietUntil = 0;

  function mark(n) {
    current = n;
    chapters.forEach((chapter, at) => chapter.classList.toggle("current", at === n));
    [...links.children].forEach((link, at) => (at === n ? link.setAttribute("aria-current", "step") : link.removeAttribute("aria-current")));
  }

  function enter(n, scroll) {
    if (n < 0 || n >= chapters.length) return;
    mark(n);
    perform(actions, chapters[n].dataset.do ?? "", scroll ? undefined : allowed);
    if (scroll) {
      quietUntil = performance.now() + 900; // the chapters that this scrolls past are not read
      chapters[n].scrollIntoView({ block: "start", behavior: "auto" });
      chapters[n].querySelector("h2").focus({ preventScroll: true });
    }
  }

  chapters.forEach((chapter, n) => {
    const title = chapter.querySelector("h2"), link = document.createElement("button");
    title.tabIndex = -1;
    link.type = "button";
    link.textContent = String(n + 1);
    link.title = title.textContent;
    link.setAttribute("aria-label", `Chapter ${n + 1}: ${title.textContent}`);
    link.addEventListener("click", () => enter(n, true));
    links.append(link);
    const turn = document.createElement("nav");
    turn.className = "turn";
    for (const [step, text] of [[-1, "← Before"], [1, "Next →"]]) {
      if (!chapters[n + step]) continue;
      const to = document.createElement("button");
      to.type = "button";
      to.textContent = step > 0 ? `${text.slice(0, 4)}: ${chapters[n + step].querySelector("h2").textContent} →` : text;
      to.addEventListener("click", () => enter(n + step, true));
      turn.append(to);
    }
    chapter.append(turn);
  });
  host.addEventListener("click", (event) => {
    const word = event.target.closest("button[data-do]");
    if (!word) return;
    perform(actions, word.dataset.do);
    moved(word.dataset.do);
  });

  // On a wide page all chapters stand below each other: the one at reading height moves the picture.
  let timer = 0, scrolled = false;
  addEventListener("scroll", () => (scrolled = true), { passive: true });
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const n = chapters.indexOf(entry.target);
      if (!scrolled || !entry.isIntersecting || n === current || !matchMedia("(min-width: 64rem)").matches) continue;
      clearTimeout(timer);
      timer = setTimeout(() => performance.now() > quietUntil && enter(n, false), 250);
    }
  }, { rootMargin: "-35% 0px -60% 0px" });
  chapters.forEach((chapter) => watch.observe(chapter));
  mark(0);
  const linked = chapters.findIndex((chapter) => `#${chapter.id}` === location.hash);
  return { begin: () => linked >= 0 && enter(linked, true) };
}
