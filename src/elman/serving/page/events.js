// The view of a recommender: each event goes into a session, and the next items come out.
import { Bars, card, element, message } from "./shared/view/elements.js";
import { Sessions } from "./sessions.js";

const SHOWN = 12;

export function showShop(page, model, server) {
  new Shop(page, model, server);
}

class Shop {
  constructor(page, model, server) {
    Object.assign(this, { server, baskets: new Map() });
    this.message = message();
    this.sessions = new Sessions(server, model, "event", (session, before) => this.open(session, before));
    this.basket = element("ol", { class: "basket", "aria-label": "Events of this session" });
    this.item = element("input", { type: "text", id: "item", spellcheck: false, autocomplete: "off" });
    this.bars = new Bars({ choose: ({ key }) => this.feed(key), labels: true });
    const form = element("form", {}, element("label", { for: "item" }, "An item"), element("div", { class: "controls" }, this.item, element("button", { type: "submit", class: "main" }, "Add")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.item.value.trim()) this.feed(this.item.value.trim());
      this.item.value = "";
    });
    page.className = "three plain";
    page.append(
      element("div", { class: "rail" }, this.sessions.node),
      element("div", { class: "column" }, card("Events", this.basket, form, this.message.node), card("Next items", this.bars.node, element("p", { class: "hint" }, "Choose one to add it."))),
    );
    this.renderBasket();
    this.sessions.attempt(async () => {
      await this.sessions.load();
      await this.sessions.ensure();
    });
  }

  async open(session, before) {
    if (session && before) this.baskets.set(session.id, [...(this.baskets.get(before.id) ?? [])]);
    this.renderBasket();
    if (!session) return this.bars.show([]);
    try {
      const { position } = session, expected = await this.server.json("GET", `/v1/sessions/${session.id}/next?top=${SHOWN}`);
      if (session === this.sessions.current && position === session.position) this.show(expected);
      this.message.say(before ? `Forked from ${before.id.slice(-6)}.` : "");
    } catch (error) {
      this.message.fail(error);
    }
  }

  async feed(item) {
    try {
      const session = await this.sessions.ensure();
      const answer = await this.server.json("POST", `/v1/sessions/${session.id}/feed`, { items: [item], top_k: SHOWN });
      this.baskets.set(session.id, [...(this.baskets.get(session.id) ?? []), item]);
      this.sessions.moved(session, answer.position);
      this.renderBasket();
      this.show(answer);
      this.message.say("");
    } catch (error) {
      this.message.fail(error);
    }
  }

  renderBasket() {
    const session = this.sessions.current, items = this.baskets.get(session?.id) ?? [], before = (session?.position ?? 0) - items.length;
    const earlier = before > 0 ? [element("li", {}, `${before} earlier`)] : [];
    this.basket.replaceChildren(...earlier, ...items.map((item) => element("li", {}, item)));
    if (!this.basket.childNodes.length) this.basket.append(element("li", {}, "nothing yet"));
  }

  show({ items = [], scores = [] }) {
    this.bars.show(items.map((item, n) => ({ key: item, name: item, p: Math.max(0, Math.min(1, scores[n])) })), items[0]);
  }
}
