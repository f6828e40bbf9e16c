// The sessions of a model on the server: a list, with fork and delete.
import { card, element } from "./shared/view/elements.js";

const MOST = 1000; // in a page of the list
const SHOWN = 40;

const ago = (seconds) => {
  const since = Math.max(0, Date.now() / 1000 - seconds);
  return since < 60 ? "now" : since < 3600 ? `${Math.floor(since / 60)} min` : since < 86400 ? `${Math.floor(since / 3600)} h` : `${Math.floor(since / 86400)} d`;
};

export class Sessions {
  // select(session, before): a session was chosen, perhaps one that was forked from `before`; null: none is left.
  constructor(server, model, unit, select) {
    Object.assign(this, { server, model, unit, select, current: null, rows: [] });
    this.list = element("ul", { class: "sessions", "aria-label": "Sessions" });
    this.begin = element("button", { type: "button", class: "quiet", onclick: () => this.create() }, "New session");
    this.note = element("p", { class: "message wrong", role: "alert" });
    this.node = card("Sessions", this.list, this.begin, this.note);
    this.node.classList.add("session-card");
  }

  async load() {
    const rows = [];
    for (let after = ""; after !== null; ) {
      const page = await this.server.json("GET", `/v1/sessions?limit=${MOST}&after=${after}`);
      rows.push(...page.sessions.filter((session) => session.model === this.model.id));
      after = page.next;
    }
    this.rows = rows.sort((a, b) => b.touched - a.touched);
    this.render();
  }

  async attempt(act) {
    this.note.textContent = "";
    try {
      return await act();
    } catch (error) {
      this.note.textContent = error.message;
    }
  }

  // Return the session that is chosen; a new one where there is none.
  async ensure() {
    if (this.current) return this.current;
    this.beginning ??= this.server.json("POST", "/v1/sessions", { model: this.model.id }).then((session) => this.choose(session));
    try {
      await this.beginning;
    } finally {
      this.beginning = null;
    }
    return this.current;
  }

  create() {
    return this.attempt(async () => this.choose(await this.server.json("POST", "/v1/sessions", { model: this.model.id })));
  }

  fork(session) {
    return this.attempt(async () => this.choose(await this.server.json("POST", `/v1/sessions/${session.id}/fork`), session));
  }

  remove(session) {
    return this.attempt(async () => {
      await this.server.json("DELETE", `/v1/sessions/${session.id}`);
      this.rows = this.rows.filter((row) => row.id !== session.id);
      if (this.current?.id !== session.id) this.render();
      else if (this.rows.length) this.choose(this.rows[0]);
      else {
        this.current = null;
        this.render();
        this.select(null);
      }
    });
  }

  choose(session, before = null) {
    this.current = this.rows.find((row) => row.id === session.id) ?? session;
    if (!this.rows.includes(this.current)) this.rows.unshift(this.current);
    this.render();
    this.select(this.current, before);
  }

  // The session has read on, or was put back.
  moved(session, position) {
    Object.assign(session, { position, touched: Date.now() / 1000 });
    const row = this.list.querySelector(`[data-session="${CSS.escape(session.id)}"] .count`);
    if (row) row.textContent = this.count(session);
  }

  count(session) {
    return `${session.position.toLocaleString("en")} ${session.position === 1 ? this.unit : `${this.unit}s`}`;
  }

  render() {
    this.list.replaceChildren(...this.rows.slice(0, SHOWN).map((session) => {
      const name = session.id.slice(-6), chosen = session === this.current;
      const open = element(
        "button", { type: "button", class: "session", onclick: () => this.choose(session), title: session.id },
        element("span", { class: "id" }, name), element("span", { class: "count" }, this.count(session)), element("span", { class: "age" }, ago(session.touched)),
      );
      if (chosen) open.setAttribute("aria-current", "true");
      const item = element("li", { "data-session": session.id }, open);
      if (chosen) {
        item.append(element(
          "div", { class: "actions" },
          element("button", { type: "button", class: "quiet", "aria-label": `Fork session ${name}`, onclick: () => this.fork(session) }, "Fork"),
          element("button", { type: "button", class: "quiet", "aria-label": `Delete session ${name}`, onclick: () => this.remove(session) }, "Delete"),
        ));
      }
      return item;
    }));
    if (!this.rows.length) this.list.append(element("li", { class: "hint" }, "No sessions. The first begins by itself."));
    if (this.rows.length > SHOWN) this.list.append(element("li", { class: "hint" }, `and ${this.rows.length - SHOWN} older ones`));
  }
}
