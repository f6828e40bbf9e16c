// The view of a language model: a session writes, with the distribution of each symbol and the hidden state.
import { Bars, card, dial, element, message, reducedMotion, tint, visible } from "./shared/view/elements.js";
import { HeatMap } from "./shared/view/heat_map.js";
import { Sessions } from "./sessions.js";

const SHOWN = 12; // symbols in the list of the most probable ones
const SPEEDS = [2, 5, 10, 20, 40, 80, 160, 100000];
const SEEDS = 2 ** 31;

export function showLanguageModel(page, model, server) {
  const writer = new Writer(page, model, server);
  return () => writer.stop();
}

class Writer {
  constructor(page, model, server) {
    Object.assign(this, { model, server, temperature: 0.8, length: 200, speed: 40, texts: new Map(), run: null });
    this.message = message();
    this.sessions = new Sessions(server, model, "symbol", (session, before) => this.open(session, before));
    this.build(page);
    this.open(null);
    this.sessions.attempt(() => this.sessions.load());
  }

  build(page) {
    this.prompt = element("textarea", { rows: 2, spellcheck: false, id: "prompt" });
    this.prompt.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && this.toggle());
    this.paper = element("div", { class: "paper", tabIndex: 0, role: "log", "aria-live": "off", "aria-label": "The text of the session" });
    this.caret = element("span", { class: "caret", "aria-hidden": "true" });
    this.button = element("button", { type: "button", class: "main", onclick: () => this.toggle() }, "Write");
    this.keepButton = element("button", { type: "button", onclick: () => this.keep() }, "Take a snapshot");
    this.seed = element("input", { type: "number", id: "seed", min: "0", max: String(SEEDS), step: "1", placeholder: "any" });
    this.ending = element("input", { type: "text", id: "stop", spellcheck: false, placeholder: "none" });
    this.snapshots = element("ul", { class: "snapshots", "aria-label": "Snapshots of this session" });
    const dials = element(
      "div", { class: "dials" },
      dial("Temperature", { min: 0, max: 2, step: 0.05, value: 0.8, text: (t) => (t === 0 ? "0, greedy" : t.toFixed(2)) }, (t) => (this.temperature = t)),
      dial("Symbols", { min: 20, max: 1000, step: 20, value: 200 }, (n) => (this.length = n)),
      dial("Speed", { min: 0, max: SPEEDS.length - 1, step: 1, value: 4, text: (n) => (SPEEDS[n] === 100000 ? "at once" : `${SPEEDS[n]} a second`) }, (n) => (this.speed = SPEEDS[n])),
    );
    const fields = element("div", { class: "fields" }, element("label", { for: "seed" }, "Seed", this.seed), element("label", { for: "stop" }, "Stop at the text", this.ending));
    this.legend = element("p", { class: "scale", hidden: true }, "−1", element("i"), "+1");
    const text = card(
      "Text", this.paper, this.legend, element("label", { for: "prompt", class: "above" }, "What it reads next"), this.prompt,
      element("div", { class: "controls" }, this.button, this.keepButton), this.message.node, dials, fields,
    );
    this.rewinds = card("Rewind to", this.snapshots);
    this.bars = new Bars();
    this.heatSlot = element("div", {}, element("p", { class: "hint" }, "It is shown as soon as there is text."));
    page.className = "three";
    page.append(
      element("div", { class: "rail" }, this.sessions.node, this.rewinds),
      element("div", { class: "column" }, text),
      element("div", { class: "side pair" }, card("Next symbol", this.bars.node), card("Hidden state", this.heatSlot)),
    );
  }

  // What the page knows of a session: the server has its state, not its text.
  textOf(session) {
    if (!session) return { symbols: [], snapshots: [] };
    if (!this.texts.has(session.id)) {
      const symbols = session.position ? [{ text: `… ${session.position.toLocaleString("en")} symbols before …`, before: true }] : [];
      this.texts.set(session.id, { symbols, snapshots: [] });
    }
    return this.texts.get(session.id);
  }

  open(session, before) {
    this.stop();
    if (session && before && this.texts.has(before.id)) {
      const { symbols, snapshots } = this.texts.get(before.id);
      this.texts.set(session.id, { symbols: symbols.map((symbol) => ({ ...symbol })), snapshots: [...snapshots] });
    }
    this.text = this.textOf(session);
    this.redraw();
    this.message.say(before ? `Forked from ${before.id.slice(-6)}: both continue from here.` : "");
    if (session?.position) this.expect(session);
  }

  redraw() {
    this.paper.replaceChildren(this.caret);
    for (const symbol of this.text.symbols) this.place(symbol);
    this.renderSnapshots();
  }

  place(symbol) {
    symbol.node = element("span", symbol.before ? { class: "before" } : symbol.given ? { class: "given" } : {}, symbol.text);
    this.caret.before(symbol.node);
    this.colour(symbol);
  }

  add(symbol) {
    this.text.symbols.push(symbol);
    this.place(symbol);
  }

  async expect(session) {
    try {
      const { symbols, hidden } = await this.server.json("GET", `/v1/sessions/${session.id}/next?top=${SHOWN}`);
      if (session === this.sessions.current && !this.run) this.show(symbols.map(({ text, probability }) => ({ text, p: probability })), hidden);
    } catch (error) {
      this.message.fail(error);
    }
  }

  show(top, hidden) {
    this.bars.show(top.map(({ text, p }) => ({ key: text, p, name: visible(text) })), top[0]?.text);
    if (!this.heat && hidden) {
      this.heat = new HeatMap(hidden.length, () => this.tint(), "Choose a unit: the text takes the colours of its values.");
      this.heatSlot.replaceChildren(this.heat.node);
    }
    if (hidden) this.heat.show(Float32Array.from(hidden));
  }

  tint() {
    this.legend.hidden = this.heat.chosen < 0;
    for (const symbol of this.text.symbols) this.colour(symbol);
  }

  colour({ node, hidden }) {
    const unit = this.heat?.chosen ?? -1;
    node.style.background = unit < 0 || !hidden ? "" : tint(hidden[unit]);
  }

  toggle() {
    return this.run ? this.stop() : this.write();
  }

  async write() {
    const run = (this.run = { abort: new AbortController(), queue: [], shown: 0, done: false });
    this.button.textContent = "Stop";
    this.message.say("");
    try {
      const session = await this.sessions.ensure();
      this.run = run; // the view of a new session stops what was before
      this.button.textContent = "Stop";
      const path = `/v1/sessions/${session.id}`, prompt = this.prompt.value, seed = this.seed.value === "" ? Math.floor(Math.random() * SEEDS) : Number(this.seed.value);
      const settings = { text: prompt, seed, temperature: this.temperature, ...(this.ending.value ? { stop: this.ending.value } : {}) };
      Object.assign(run, { session, path, settings, from: await this.server.bytes(`${path}/snapshot`), text: this.text, position: session.position });
      this.text.snapshots.push({ position: session.position, content: run.from, length: this.text.symbols.length, tail: tailOf(this.text.symbols) });
      this.renderSnapshots();
      if (prompt) this.add({ text: prompt, given: true });
      this.prompt.value = "";
      const reading = this.read(run);
      await this.play(run);
      await reading;
    } catch (error) {
      if (error.name !== "AbortError") this.message.fail(error);
      if (this.run === run) this.finish(run);
    }
  }

  async read(run) {
    try {
      const body = { ...run.settings, max_tokens: this.length, logprobs: SHOWN, hidden: true };
      for await (const event of this.server.events(`${run.path}/generate`, body, run.abort.signal)) run.queue.push(event);
    } catch (error) {
      if (error.name !== "AbortError") run.error = error;
    }
    run.done = true;
  }

  // Show the events at the chosen speed.
  play(run) {
    let due = 0, before = performance.now();
    return new Promise((resolve) => {
      const frame = (now) => {
        if (this.run !== run) return resolve();
        due += reducedMotion.matches ? Infinity : (Math.max(0, now - before) * this.speed) / 1000;
        before = now;
        let last = null;
        for (; due >= 1 && run.queue.length; due--) {
          const event = run.queue.shift(), top = event.logprobs?.[0]?.top;
          if (event.text) this.add({ text: event.text, hidden: event.hidden });
          if (top) {
            last = event;
            run.shown++;
          }
          this.sessions.moved(run.session, event.position);
        }
        if (!run.queue.length) due = Math.min(due, 1);
        if (last) this.show(last.logprobs[0].top.map(({ text, logprob }) => ({ text, p: Math.exp(logprob) })), last.hidden);
        if (last) this.paper.scrollTop = this.paper.scrollHeight;
        if (!run.done || run.queue.length) return requestAnimationFrame(frame);
        this.finish(run);
        resolve();
      };
      requestAnimationFrame(frame);
    });
  }

  finish(run) {
    this.run = null;
    this.button.textContent = "Write";
    if (run.error) this.message.fail(run.error);
    else if (run.session) this.message.say(`${run.shown} symbols with the seed ${run.settings.seed}.`);
    if (run.session) this.expect(run.session);
  }

  // The server may be ahead of the page: the session is put back, and reads again what is on the page; the numbers are the same.
  async stop() {
    const { run } = this;
    this.run = null;
    this.button.textContent = "Write";
    if (!run?.session) return;
    run.abort.abort();
    try {
      await this.server.json("PUT", `${run.path}/snapshot`, run.from);
      const { position } = await this.server.json("POST", `${run.path}/generate`, { ...run.settings, max_tokens: run.shown });
      this.sessions.moved(run.session, position);
      if (run.text === this.text) {
        this.message.say(`Stopped after ${run.shown} symbols, with the seed ${run.settings.seed}.`);
        if (!this.run) this.expect(run.session);
      }
    } catch (error) {
      this.message.fail(error);
    }
  }

  async keep() {
    const session = this.sessions.current;
    if (!session || this.run) return this.message.say(session ? "Stop first." : "There is no session yet.");
    try {
      const content = await this.server.bytes(`/v1/sessions/${session.id}/snapshot`);
      this.text.snapshots.push({ position: session.position, content, length: this.text.symbols.length, tail: tailOf(this.text.symbols) });
      this.renderSnapshots();
      this.message.say(`A snapshot at ${session.position} symbols: ${content.length.toLocaleString("en")} bytes.`);
    } catch (error) {
      this.message.fail(error);
    }
  }

  async rewind(snapshot) {
    await this.stop();
    const session = this.sessions.current;
    try {
      const { position } = await this.server.json("PUT", `/v1/sessions/${session.id}/snapshot`, snapshot.content);
      this.text.symbols.length = snapshot.length;
      this.sessions.moved(session, position);
      this.redraw();
      this.message.say(`Rewound to ${position} symbols.`);
      if (position) await this.expect(session);
      else this.bars.show([]);
    } catch (error) {
      this.message.fail(error);
    }
  }

  renderSnapshots() {
    const { snapshots } = this.text;
    this.rewinds.hidden = !snapshots.length;
    this.snapshots.replaceChildren(...snapshots.map((snapshot) =>
      element(
        "li", {},
        element(
          "button", { type: "button", class: "snapshot", "aria-label": `Rewind to ${snapshot.position} symbols`, onclick: () => this.rewind(snapshot) },
          element("span", { class: "count" }, String(snapshot.position)), element("span", { class: "tail" }, snapshot.tail || "the beginning"),
        ),
      ),
    ));
  }
}

const tailOf = (symbols) => symbols.slice(-24).map(({ text }) => text).join("").replaceAll(/\s+/g, " ").slice(-20);
