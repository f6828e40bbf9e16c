// The playground: the models of this server, and the view of the one that is chosen.
import { element } from "./shared/view/elements.js";
import { startTheme } from "./shared/view/theme.js";
import { showLanguageModel } from "./language_model.js";
import { showPredictions } from "./predictions.js";
import { showShop } from "./events.js";
import { Server } from "./server.js";
import { showSound } from "./sound.js";

const KINDS = {
  "language-model": "Language model", classify: "Classifier", forecast: "Forecaster", transcribe: "Transcriber", caption: "Captioner",
  translate: "Translator", similarity: "Similarity", recommend: "Recommender",
};
const VIEWS = { text: showLanguageModel, events: showShop, sound: showSound };

const find = (id) => document.getElementById(id);
const server = new Server();
let leave = () => {};

function show(model, models) {
  leave();
  const kind = KINDS[model.recipe] ?? model.recipe, page = find("page");
  document.title = `${model.id} · elman serve`;
  find("kind").textContent = kind;
  find("title").textContent = model.id;
  find("facts").textContent = model.weights ? `Sessions of ${model.kind} · weights ${model.weights.slice(0, 12)}` : "Answers whole inputs";
  find("models").replaceChildren(...models.map((each) => {
    const link = element("a", { href: `#${encodeURIComponent(each.id)}` }, each.id, element("small", {}, KINDS[each.recipe] ?? each.recipe));
    if (each === model) link.setAttribute("aria-current", "page");
    return link;
  }));
  page.replaceChildren();
  page.className = "";
  leave = (VIEWS[model.kind] ?? (model.recipe === "transcribe" ? showSound : showPredictions))(page, model, server) ?? (() => {});
  page.dataset.ready = model.id;
}

async function start() {
  const { data: models } = await server.json("GET", "/v1/models");
  find("access").hidden = true;
  const choose = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    show(models.find((model) => model.id === name) ?? models[0], models);
  };
  addEventListener("hashchange", choose);
  choose();
}

function open() {
  start().catch((error) => {
    const locked = error.status === 401;
    find("title").textContent = locked ? "A token is needed" : "The server cannot be reached";
    find("access").hidden = !locked;
    find("refusal").textContent = locked && !server.token ? "" : error.message;
    if (locked) find("token").focus();
    else find("facts").textContent = error.message;
  });
}

find("access").addEventListener("submit", (event) => {
  event.preventDefault();
  server.keep(find("token").value);
  open();
});
startTheme(find("theme"));
open();
