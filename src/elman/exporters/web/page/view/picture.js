// A picture that is drawn, dropped or opened, as the sequence that a classifier reads.
import { Drawing, card, colours, element } from "./elements.js";
import { openFile } from "./sequence.js";

const POINTS = 224; // along a side of the drawing, about
const STROKE = 0.085; // radius of the pen, as a share of the width
const WHITE = 255;

// The pixels of a picture in the order in which the run reads them: rows of numbers.
export function sequenceOf(pixels, { height, width, channels, order, places }) {
  const part = (begin, end) => Array.from(pixels.subarray(begin * channels, end * channels));
  if (order === "rows") return Array.from({ length: height }, (_, y) => part(y * width, (y + 1) * width));
  return Array.from({ length: height * width }, (_, n) => part((places ?? [])[n] ?? n, ((places ?? [])[n] ?? n) + 1));
}

export const pictureInput = (picture, view) => new PictureInput(picture, view).node;

class PictureInput {
  constructor(picture, view) {
    Object.assign(this, { picture, view, cursor: null, penDown: false });
    this.fine = Math.max(4, Math.ceil(POINTS / picture.width)); // points along a side of a pixel of the model
    this.width = picture.width * this.fine;
    this.height = picture.height * this.fine;
    this.ink = new Uint8Array(this.width * this.height);
    this.pixels = new Uint8Array(picture.width * picture.height * picture.channels);
    this.board = new Drawing({ class: "board", role: "application", tabIndex: 0 }, (...canvas) => this.paintBoard(...canvas));
    this.board.node.style.aspectRatio = `${picture.width} / ${picture.height}`;
    this.board.node.setAttribute("aria-label", "Drawing: arrow keys move the pen, Space puts it down or up, Delete clears");
    this.small = element("canvas", { class: "pixels", role: "img", "aria-label": "What the model reads" });
    this.small.width = picture.width;
    this.small.height = picture.height;
    this.build();
    this.listen();
    this.clear();
  }

  build() {
    const { width, height, fit } = this.picture;
    this.fit = element("input", { type: "checkbox", id: "fit" });
    this.fit.checked = fit > 0;
    this.fit.addEventListener("change", () => this.answer());
    const reads = element("figcaption", {}, `What the model reads, ${width} × ${height} pixels`);
    this.node = card(
      "Drawing",
      element("div", { class: "draw" }, element("figure", {}, this.board.node), element("figure", {}, this.small, reads)),
      element(
        "div", { class: "inline" },
        element("button", { type: "button", onclick: () => this.clear() }, "Clear"),
        openFile("image/*", "Open a picture", (file) => this.open(file)),
        element("label", { for: "fit" }, this.fit, "Fit to the frame"),
      ),
      element("p", { class: "hint" }, "Draw with a finger, a mouse, or the arrow keys and Space. A picture can be dropped too."),
      this.view.message.node,
    );
    this.node.addEventListener("dragover", (event) => event.preventDefault());
    this.node.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) this.open(event.dataTransfer.files[0]);
    });
  }

  listen() {
    const { node } = this.board;
    let before = null;
    const at = (event) => {
      const box = node.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * this.width, ((event.clientY - box.top) / box.height) * this.height];
    };
    node.addEventListener("pointerdown", (event) => {
      node.setPointerCapture(event.pointerId);
      before = at(event);
      this.line(before, before);
    });
    node.addEventListener("pointermove", (event) => {
      if (!before) return;
      const next = at(event);
      this.line(before, next);
      before = next;
    });
    for (const name of ["pointerup", "pointercancel"]) node.addEventListener(name, () => (before = null));
    node.addEventListener("keydown", (event) => this.key(event));
    node.addEventListener("blur", () => ((this.cursor = null), this.board.redraw()));
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = this.width / 28, [x, y] = this.cursor ?? [this.width / 2, this.height / 2];
    if (moves[event.key]) {
      const [dx, dy] = moves[event.key], within = (value, most) => Math.min(most, Math.max(0, value));
      this.cursor = [within(x + dx * step, this.width), within(y + dy * step, this.height)];
      if (this.penDown) this.line([x, y], this.cursor);
    } else if (event.key === " ") {
      this.penDown = !this.penDown;
      this.cursor = [x, y];
      if (this.penDown) this.line([x, y], [x, y]);
    } else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
    this.board.redraw();
  }

  clear() {
    this.ink.fill(0);
    this.pixels.fill(0);
    this.penDown = false;
    this.opened = null;
    this.view.clear("Draw something.");
    this.view.message.say("");
    this.paintSmall();
    this.board.redraw();
  }

  // Ink along a line.
  line([x0, y0], [x1, y1]) {
    if (this.opened) this.clear();
    const radius = STROKE * this.width, count = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / (radius / 3)));
    for (let n = 0; n <= count; n++) this.dot(x0 + ((x1 - x0) * n) / count, y0 + ((y1 - y0) * n) / count, radius);
    this.board.redraw();
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.answer();
    });
  }

  dot(cx, cy, radius) {
    for (let y = Math.max(0, Math.floor(cy - radius)); y < Math.min(this.height, cy + radius); y++) {
      for (let x = Math.max(0, Math.floor(cx - radius)); x < Math.min(this.width, cx + radius); x++) {
        if ((x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2 <= radius * radius) this.ink[y * this.width + x] = 1;
      }
    }
  }

  answer() {
    if (!this.opened && !this.readInk()) return;
    this.paintSmall();
    this.view.show(sequenceOf(this.pixels, this.picture));
  }

  // {left, top, right, bottom} of the ink, or null.
  box() {
    let left = this.width, top = this.height, right = 0, bottom = 0;
    this.ink.forEach((ink, at) => {
      if (!ink) return;
      const x = at % this.width, y = Math.floor(at / this.width);
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x + 1), Math.min(top, y), Math.max(bottom, y + 1)];
    });
    return right > left ? { left, top, right, bottom } : null;
  }

  // Each pixel is the share of its area that has ink; fitted, the drawing is scaled and moved to the middle first.
  readInk() {
    const { width, height, channels, fit } = this.picture, { fine } = this, box = this.box();
    if (!box) return false;
    let scale = 1, dx = 0, dy = 0;
    if (this.fit.checked) {
      scale = Math.max(box.right - box.left, box.bottom - box.top) / ((fit || 0.8) * Math.min(this.width, this.height));
      dx = (box.left + box.right - scale * this.width) / 2;
      dy = (box.top + box.bottom - scale * this.height) / 2;
    }
    const inkAt = (fx, fy) => {
      const x = Math.floor((fx + 0.5) * scale + dx), y = Math.floor((fy + 0.5) * scale + dy);
      return x >= 0 && x < this.width && y >= 0 && y < this.height ? this.ink[y * this.width + x] : 0;
    };
    for (let place = 0; place < width * height; place++) {
      const left = (place % width) * fine, top = Math.floor(place / width) * fine;
      let count = 0;
      for (let n = 0; n < fine * fine; n++) count += inkAt(left + (n % fine), top + Math.floor(n / fine));
      this.pixels.fill(Math.round((WHITE * count) / (fine * fine)), place * channels, (place + 1) * channels);
    }
    return true;
  }

  // A picture file, scaled to the size that the model reads.
  async open(file) {
    try {
      const image = await createImageBitmap(file), { width, height, channels } = this.picture;
      const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d", { willReadFrequently: true });
      context.imageSmoothingQuality = "high";
      context.drawImage(image, 0, 0, width, height);
      const { data } = context.getImageData(0, 0, width, height);
      for (let place = 0; place < width * height; place++) {
        const [r, g, b] = data.subarray(4 * place, 4 * place + 3);
        if (channels === 1) this.pixels[place] = Math.round(0.299 * r + 0.587 * g + 0.114 * b);
        else this.pixels.set([r, g, b], 3 * place);
      }
      this.opened = canvas;
      this.board.redraw();
      this.answer();
    } catch (error) {
      this.view.message.fail(new Error(`${file.name} cannot be read as a picture: ${error.message}`));
    }
  }

  paintBoard(context, width, height) {
    const theme = colours();
    if (this.opened) {
      context.imageSmoothingEnabled = false;
      context.drawImage(this.opened, 0, 0, width, height);
      return;
    }
    context.strokeStyle = theme.line;
    for (let k = 1; k < 4; k++) {
      const x = Math.round((width * k) / 4) + 0.5, y = Math.round((height * k) / 4) + 0.5;
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, height);
      context.moveTo(0, y);
      context.lineTo(width, y);
      context.stroke();
    }
    const fine = new OffscreenCanvas(this.width, this.height), inside = fine.getContext("2d");
    const image = inside.createImageData(this.width, this.height), [r, g, b] = theme.positive;
    this.ink.forEach((ink, at) => ink && image.data.set([r, g, b, 255], 4 * at));
    inside.putImageData(image, 0, 0);
    context.drawImage(fine, 0, 0, width, height);
    if (!this.cursor) return;
    context.strokeStyle = this.penDown ? theme.accent : theme.ink;
    context.lineWidth = 2;
    context.beginPath();
    context.arc((this.cursor[0] / this.width) * width, (this.cursor[1] / this.height) * height, STROKE * width, 0, 2 * Math.PI);
    context.stroke();
  }

  paintSmall() {
    const { width, height, channels } = this.picture, context = this.small.getContext("2d", { willReadFrequently: true });
    const image = context.createImageData(width, height);
    for (let place = 0; place < width * height; place++) {
      for (let c = 0; c < 3; c++) image.data[4 * place + c] = this.pixels[place * channels + (channels === 3 ? c : 0)];
      image.data[4 * place + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }
}
