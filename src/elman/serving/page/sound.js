// The view of a transcriber: a microphone, live over a WebSocket, and recordings.
import { Resampler, readWav } from "./shared/model/sound.js";
import { card, element, message, percent } from "./shared/view/elements.js";
import { dropZone, preview } from "./files.js";

const BLOCK = 0.2; // seconds of a recording in a message
const UNSENT = 1 << 18; // bytes that wait in the socket before the page waits

export function showSound(page, model, server) {
  const view = new Sound(page, model, server);
  return () => view.stop();
}

class Sound {
  constructor(page, model, server) {
    Object.assign(this, { model, server, live: model.kind === "sound" });
    this.message = message();
    this.words = element("p", { class: "words empty", role: "log", "aria-live": "polite", "aria-label": "The transcript" }, "Nothing is transcribed yet.");
    this.partial = element("span", { class: "pending" });
    this.level = element("div", { class: "level", "aria-hidden": "true", hidden: true }, element("i"));
    this.given = element("div");
    this.button = element("button", { type: "button", class: "main", onclick: () => this.toggle() }, "Listen");
    const listening = this.live ? [element("div", { class: "controls" }, this.button), this.level] : [];
    const sound = card("Sound", dropZone("Drop a recording", "audio/*,.wav,.flac", ([file]) => this.open(file)), ...listening, this.message.node, this.given);
    page.className = "two";
    page.append(element("div", { class: "column" }, card("Transcript", this.words)), element("div", { class: "side" }, sound));
    page.addEventListener("dragover", (event) => event.preventDefault());
    if (!this.live) sound.append(element("p", { class: "hint" }, "The model hears a recording as a whole; live sound needs a run with streaming=true."));
  }

  clear() {
    this.words.replaceChildren(this.partial);
    this.words.className = "words";
    this.partial.textContent = "";
    this.message.say("");
  }

  write({ words, partial }) {
    for (const { word, second, end, confidence } of words) {
      const span = element("span", { title: `${second.toFixed(2)} to ${end.toFixed(2)} s, ${percent(confidence)}` }, word);
      span.style.opacity = (0.45 + 0.55 * confidence).toFixed(2);
      this.partial.before(span, " ");
    }
    this.partial.textContent = partial ?? "";
  }

  finish(note) {
    if (!this.words.textContent.trim()) this.words.replaceChildren("No words were heard.");
    this.message.say(note);
  }

  // A stream to the server: resolves with its sample rate; `ended` when the last words have come.
  async connect() {
    const socket = this.server.socket(`/v1/audio/stream?model=${encodeURIComponent(this.model.id)}`);
    socket.binaryType = "arraybuffer";
    const stream = { socket };
    stream.ended = new Promise((resolve, reject) => {
      stream.ready = new Promise((begin) => {
        socket.onmessage = ({ data }) => {
          const fields = JSON.parse(data);
          if (fields.error) reject(new Error(fields.error.message));
          else if (fields.rate) begin(fields.rate);
          else this.write(fields);
          if (fields.end) resolve(fields.seconds);
        };
      });
      socket.onclose = () => reject(new Error("The server has closed the stream."));
    });
    stream.ended.catch(() => {});
    stream.rate = await Promise.race([stream.ready, stream.ended]);
    return stream;
  }

  async toggle() {
    if (this.microphone) return this.hangUp();
    this.clear();
    try {
      await this.listen();
      this.button.textContent = "Stop";
      this.message.say("Listening.");
    } catch (error) {
      await this.stop();
      this.message.fail(error);
    }
  }

  async listen() {
    if (!navigator.mediaDevices) throw new Error("The browser gives the microphone to pages on localhost or by https alone; a recording can be opened.");
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const media = await navigator.mediaDevices.getUserMedia({ audio }), context = new AudioContext();
    const microphone = (this.microphone = { media, context });
    microphone.stream = await this.connect();
    await context.audioWorklet.addModule(new URL("./shared/view/recorder.js", import.meta.url));
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    const resampler = (microphone.resampler = new Resampler(context.sampleRate, microphone.stream.rate));
    this.level.hidden = false;
    node.port.onmessage = ({ data }) => {
      if (this.microphone !== microphone) return;
      microphone.stream.socket.send(toBytes(resampler.push(data)));
      this.level.firstChild.style.setProperty("--level", Math.min(1, 3 * Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length)).toFixed(3));
    };
    context.createMediaStreamSource(media).connect(node);
    microphone.stream.ended.catch((error) => this.microphone === microphone && this.stop().then(() => this.message.fail(error)));
  }

  // The microphone ends; the last words are waited for.
  async hangUp() {
    const { stream, resampler } = this.microphone;
    await this.stop(false);
    try {
      stream.socket.send(toBytes(resampler.finish()));
      stream.socket.send('{"end": true}');
      this.finish(`${(await stream.ended).toFixed(1)} seconds were heard.`);
    } catch (error) {
      this.message.fail(error);
    }
  }

  async stop(close = true) {
    const { microphone } = this;
    this.microphone = null;
    this.button.textContent = "Listen";
    this.level.hidden = true;
    if (!microphone) return;
    for (const track of microphone.media.getTracks()) track.stop();
    if (close) microphone.stream?.socket.close();
    await microphone.context.close();
  }

  async open(file) {
    await this.stop();
    this.clear();
    this.given.replaceChildren(...[preview(file)].filter(Boolean));
    try {
      if (this.live) await this.send(file);
      else await this.upload(file);
    } catch (error) {
      this.message.fail(error);
    }
  }

  async send(file) {
    const buffer = await file.arrayBuffer(), sound = readWav(buffer) ?? (await decode(buffer)), stream = await this.connect();
    const resampler = new Resampler(sound.rate, stream.rate), size = Math.round(BLOCK * sound.rate);
    for (let at = 0; at < sound.samples.length; at += size) {
      stream.socket.send(toBytes(resampler.push(sound.samples.subarray(at, at + size))));
      while (stream.socket.bufferedAmount > UNSENT) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    stream.socket.send(toBytes(resampler.finish()));
    stream.socket.send('{"end": true}');
    this.finish(`${file.name}: ${(await stream.ended).toFixed(1)} seconds`);
  }

  async upload(file) {
    const form = new FormData();
    form.append("file", file);
    form.append("model", this.model.id);
    const { text } = await this.server.json("POST", "/v1/audio/transcriptions", form);
    this.words.replaceChildren(text);
    this.finish(file.name);
  }
}

function toBytes(samples) {
  const view = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((value, n) => view.setInt16(2 * n, Math.max(-32768, Math.min(32767, Math.round(32768 * value))), true));
  return view.buffer;
}

async function decode(buffer) {
  const decoded = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(buffer.slice(0)), samples = new Float32Array(decoded.length);
  for (let c = 0; c < decoded.numberOfChannels; c++) decoded.getChannelData(c).forEach((value, n) => (samples[n] += value / decoded.numberOfChannels));
  return { samples, rate: decoded.sampleRate };
}
