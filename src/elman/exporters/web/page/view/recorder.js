// The samples of a microphone, in blocks, to the page.
const BLOCK = 2048;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.size = 0;
  }

  process([channels]) {
    if (!channels.length) return true;
    for (let n = 0; n < channels[0].length; n++) {
      let sum = 0;
      for (const channel of channels) sum += channel[n];
      this.block[this.size++] = sum / channels.length;
      if (this.size === BLOCK) {
        this.port.postMessage(this.block.slice());
        this.size = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
