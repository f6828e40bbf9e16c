// The view of a transcriber: a microphone or a recording, its features, and the words as they become final.
import { largest, softmax } from "../model/algebra.js";
import { hiddenUnits } from "../model/recurrent.js";
import { Resampler, readWav } from "../model/sound.js";
import { Bars, Strip, card, element, message, percent, visible } from "./elements.js";
import { HeatMap } from "./heat_map.js";
import { openFile } from "./sequence.js";

const SHOWN = 8; // symbols in the list of the most probable ones
const SECONDS = 6; // of features on the page
const BLOCK = 0.1; // seconds of a recording at a time
const SLICE = 30; // milliseconds of work between two pictures
const DEVIATIONS = 3; // of a feature, at the end of the colours

export function showTranscriber(page, manifest, model) {
  new TranscriberView(page, model);
}

class TranscriberView {
  constructor(page, model) {
    this.model = model;
    this.rate = model.spec.features.rate;
    this.message = message();
    this.strip = new Strip({
      rows: model.features.bands, most: Math.round(SECONDS / model.spec.step), label: "Log-mel features of the last seconds",
    });
    this.strip.node.style.height = "10rem";
    this.bars = new Bars();
    this.heat = new HeatMap(hiddenUnits(model.recurrent.initial()).length, () => {}, "The last step of the network.");
    this.words = element("p", { class: "words empty", role: "log", "aria-live": "polite", "aria-label": "The transcript" });
    this.build(page);
    this.begin();
  }

  build(page) {
    this.listenButton = element("button", { type: "button", class: "main", onclick: () => this.toggle() }, "Listen");
    const open = openFile("audio/*,.wav", "Open a recording", (file) => this.open(file));
    const again = element("button", { type: "button", onclick: () => this.stop().then(() => this.begin()) }, "Clear");
    const hint = `A WAV file can be dropped too. The model hears ${this.rate} Hz; other rates are resampled.`;
    const sound = card(
      "Sound", this.strip.node, element("div", { class: "controls" }, this.listenButton, open, again), this.message.node,
      element("p", { class: "hint" }, hint),
    );
    page.className = "two";
    page.append(
      element("div", { class: "column" }, card("Transcript", this.words), sound),
      element("div", { class: "side pair" }, card("Symbol at this step", this.bars.node), card("Hidden state", this.heat.node)),
    );
    page.addEventListener("dragover", (event) => event.preventDefault());
    page.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) this.open(event.dataTransfer.files[0]);
    });
  }

  // A new stream.
  begin() {
    this.turn = (this.turn ?? 0) + 1;
    this.stream = this.model.stream();
    this.spoken = [];
    this.words.textContent = "Nothing is transcribed yet.";
    this.words.className = "words empty";
    this.strip.show([]);
    this.strip.redraw(this.strip.most);
    this.bars.show([]);
    this.heat.show(new Float32Array(this.heat.units));
    this.message.say("");
  }

  // More samples at the rate of the model.
  push(samples) {
    const { scaled, steps, words } = this.stream.push(samples);
    for (const frame of scaled) this.strip.push(Array.from(frame, (value) => value / DEVIATIONS).reverse());
    this.step = steps.at(-1) ?? this.step;
    this.write(words);
  }

  write(words) {
    for (const { word, begin, end, confidence } of words) {
      this.spoken.push(word);
      const title = `${begin.toFixed(2)} to ${end.toFixed(2)} s, ${percent(confidence)}`;
      const node = element("span", { title }, word);
      node.style.opacity = (0.45 + 0.55 * confidence).toFixed(2);
      if (this.words.classList.contains("empty")) this.words.replaceChildren();
      this.words.className = "words";
      this.words.append(this.words.childNodes.length ? " " : "", node);
    }
  }

  render() {
    this.strip.redraw(this.strip.most);
    if (!this.step) return;
    const p = softmax(this.step.logits), order = largest(p, SHOWN);
    const name = (id) => (id === 0 ? "no symbol" : visible(this.model.vocabulary.label(id - 1)));
    this.bars.show(order.map((id) => ({ key: id, p: p[id], name: name(id) })), order[0]);
    this.heat.show(hiddenUnits(this.step.state));
  }

  finish(note) {
    this.write(this.stream.finish());
    this.render();
    const quiet = this.stream.loudest < 0.003 ? " The sound is almost silent." : "";
    if (!this.spoken.length) this.words.textContent = "No words were heard.";
    this.message.say(note + quiet);
  }

  // A recording: WAV files are read as elman reads them, others by the browser.
  async open(file) {
    await this.stop();
    this.begin();
    const { turn } = this;
    try {
      const buffer = await file.arrayBuffer(), sound = readWav(buffer) ?? (await this.decode(buffer));
      const resampler = new Resampler(sound.rate, this.rate), size = Math.round(BLOCK * sound.rate);
      let drawn = performance.now();
      for (let at = 0; at < sound.samples.length; at += size) {
        this.push(resampler.push(sound.samples.subarray(at, at + size)));
        if (performance.now() - drawn < SLICE) continue;
        this.render();
        await new Promise((resolve) => setTimeout(resolve));
        if (turn !== this.turn) return;
        drawn = performance.now();
      }
      this.push(resampler.finish());
      this.finish(`${file.name}: ${(sound.samples.length / sound.rate).toFixed(1)} s`);
    } catch (error) {
      this.message.fail(new Error(`${file.name} cannot be read as sound: ${error.message}`));
    }
  }

  async decode(buffer) {
    const context = new OfflineAudioContext(1, 1, 48000), decoded = await context.decodeAudioData(buffer.slice(0));
    const samples = new Float32Array(decoded.length);
    for (let c = 0; c < decoded.numberOfChannels; c++) {
      decoded.getChannelData(c).forEach((value, n) => (samples[n] += value / decoded.numberOfChannels));
    }
    return { samples, rate: decoded.sampleRate };
  }

  async toggle() {
    if (this.microphone) {
      await this.stop();
      this.finish("The microphone is off.");
      return;
    }
    this.begin();
    try {
      await this.listen();
      this.listenButton.textContent = "Stop";
      this.message.say("Listening.");
    } catch (error) {
      await this.stop();
      this.message.fail(error);
    }
  }

  async listen() {
    if (!navigator.mediaDevices) {
      throw new Error("The browser gives the microphone to pages on localhost or by https alone; a recording can be opened.");
    }
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const media = await navigator.mediaDevices.getUserMedia({ audio });
    const context = new AudioContext();
    this.microphone = { media, context };
    await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 }), resampler = new Resampler(context.sampleRate, this.rate);
    let waiting = false;
    node.port.onmessage = ({ data }) => {
      if (!this.microphone) return;
      this.push(resampler.push(data));
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        this.render();
      });
    };
    context.createMediaStreamSource(media).connect(node);
  }

  async stop() {
    this.turn++;
    const { microphone } = this;
    this.microphone = null;
    this.listenButton.textContent = "Listen";
    if (!microphone) return;
    for (const track of microphone.media.getTracks()) track.stop();
    await microphone.context.close();
  }
}
