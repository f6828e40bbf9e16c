// Answers to the requests of a parity report, in types that JSON has.

const plain = (x) => Array.from(x);

// Numbers of a list; null stands for a missing one.
const numbers = (values) => values.map((value) => (value === null ? NaN : value));

// What the page makes of scores: {number}, or {probabilities, labels}, which are numbers of classes.
function classifierAnswer(model, scores) {
  const answers = scores.map((row) => model.answer(row)), { classes } = model.labels, { perStep } = model;
  if ("number" in answers[0]) return { number: answers.map(({ number }) => number) };
  const names = answers.flatMap(({ label, labels }) => labels ?? [label]);
  const probabilities = answers.map((each) => (perStep ? [Math.max(...each.probabilities)] : each.probabilities));
  return { probabilities, labels: names.map((name) => classes.indexOf(name)) };
}

const ANSWERS = {
  "language-model"(model, request) {
    if ("text" in request) return { symbols: model.vocabulary.encode(request.text) };
    let state = model.initial(), logits;
    const rows = request.ids.map((id) => (({ logits, state } = model.step(id, state)), plain(logits)));
    const states = state[0].map((_, k) => [`state ${k}`, state.map((parts) => plain(parts[k]))]);
    return { logits: rows, ...Object.fromEntries(states) };
  },
  classify(model, request) {
    if ("text" in request) return { symbols: model.reader.symbols(request.text).map(({ id }) => id) };
    if (request.stream) {
      return { "scores after each step": Array.from(model.stream(request.steps), ({ scores }) => plain(scores)) };
    }
    const scores = model.scores(request.steps);
    return request.answer ? classifierAnswer(model, scores) : { scores: scores.map(plain) };
  },
  forecast(model, request) {
    const { values, ...options } = request;
    return { quantiles: model.forecast(numbers(values), options) };
  },
  transcribe(model, request) {
    const stream = model.stream(), { frames, steps } = stream.push(Float32Array.from(request.samples));
    return { features: frames.map(plain), logits: steps.map(({ logits }) => plain(logits)) };
  },
};

// Microseconds of one step, the least mean of four rounds.
function stepTime(model, recipe) {
  const { recurrent } = model, x = new Float32Array(recurrent.spec.input_size), state = recurrent.initial();
  const step = {
    "language-model": () => model.step(0, state),
    forecast: () => model.forecast(new Array(model.spec.lookback).fill(model.spec.mean[0])),
  }[recipe] ?? (() => recurrent.step(x, state));
  if (recurrent.spec.directions > 1) return null;
  let best = Infinity;
  for (let round = 0; round < 4; round++) {
    const begin = performance.now();
    let calls = 0;
    do step(); while (++calls < 2 || performance.now() - begin < 25);
    best = Math.min(best, (performance.now() - begin) / calls);
  }
  return best * 1000;
}

// {answers, microseconds} of a model to requests.
export function check(model, manifest, requests) {
  const answers = requests.map((request) => ANSWERS[manifest.recipe](model, request));
  return { answers, microseconds: stepTime(model, manifest.recipe) };
}
