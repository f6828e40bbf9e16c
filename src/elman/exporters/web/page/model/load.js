// The model of a folder: its manifest and its weights.
import { matrixMemory } from "./algebra.js";
import { Classifier } from "./classifier.js";
import { Forecaster } from "./forecaster.js";
import { LanguageModel } from "./language_model.js";
import { Transcriber } from "./transcriber.js";

const MODELS = {
  "language-model": LanguageModel,
  classify: Classifier,
  forecast: Forecaster,
  transcribe: Transcriber,
};

// {name: {data, shape}}: float32, all in one memory.
export function tensorsOf(manifest, buffer) {
  if (buffer.byteLength !== manifest.weights.bytes) {
    throw new Error(`${manifest.weights.file} has ${buffer.byteLength} bytes, not ${manifest.weights.bytes}`);
  }
  const tensors = {}, longest = Math.max(4, ...manifest.weights.tensors.flatMap(({ shape }) => shape));
  const memory = matrixMemory(buffer.byteLength, longest);
  new Uint8Array(memory).set(new Uint8Array(buffer));
  for (const { name, shape, offset } of manifest.weights.tensors) {
    const size = shape.reduce((product, n) => product * n, 1);
    tensors[name] = { shape, data: new Float32Array(memory, offset, size) };
  }
  return tensors;
}

export const buildModel = (manifest, buffer) => new MODELS[manifest.recipe](manifest, tensorsOf(manifest, buffer));

async function answerOf(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  return answer;
}

// {manifest, model} of the folder at an address.
export async function loadModel(base) {
  const manifest = await (await answerOf(new URL("manifest.json", base))).json();
  const buffer = await (await answerOf(new URL(manifest.weights.file, base))).arrayBuffer();
  return { manifest, model: buildModel(manifest, buffer) };
}
