// Files that are dropped, opened or pasted.
import { element } from "./shared/view/elements.js";

// A zone that takes files; take(files) is called with them.
export function dropZone(text, accept, take, { multiple = false } = {}) {
  const input = element("input", { type: "file", accept, class: "pick", "aria-label": "Open a file", multiple });
  input.addEventListener("change", () => {
    if (input.files.length) take([...input.files]);
    input.value = "";
  });
  const node = element("div", { class: "drop-zone" }, element("p", {}, text), element("label", { class: "button" }, "Open a file", input));
  node.addEventListener("dragover", (event) => (event.preventDefault(), node.classList.add("drop")));
  node.addEventListener("dragleave", () => node.classList.remove("drop"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    node.classList.remove("drop");
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
  return node;
}

const SMALL = 64; // pixels of a picture that is shown larger

// A picture or a sound as it is; nothing for other files.
export function preview(file) {
  const kind = file.type.split("/")[0];
  if (kind !== "image" && kind !== "audio") return null;
  const url = URL.createObjectURL(file);
  if (kind === "audio") return element("audio", { src: url, controls: true, class: "preview", "aria-label": file.name });
  const picture = element("img", { src: url, alt: file.name, class: "preview" });
  picture.addEventListener("load", () => picture.classList.toggle("small", picture.naturalWidth <= SMALL));
  return picture;
}

// The columns of a CSV file by name, as texts; quoted cells are read, line ends in them are not.
export function columnsOf(text) {
  const lines = text.trim().split(/\r?\n/), separator = ["\t", ";", ","].find((mark) => lines[0].includes(mark)) ?? ",";
  const cells = (line) => {
    const row = [""];
    let quoted = false;
    for (const letter of line) {
      if (letter === '"') quoted = !quoted;
      else if (letter === separator && !quoted) row.push("");
      else row[row.length - 1] += letter;
    }
    return row.map((cell) => cell.trim());
  };
  const names = cells(lines[0]), rows = lines.slice(1).map(cells);
  return new Map(names.map((name, n) => [name, rows.map((row) => row[n] ?? "")]));
}
