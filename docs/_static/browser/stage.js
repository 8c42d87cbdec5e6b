// An image with boxes over it, and the small parts of a page that both pages have.

import { ImageError, opaque } from "./opaque.js";

/** Where the scenes, the networks and the facts about them are. */
export const FILES = new URL("../detector/", import.meta.url);

export const readModel = async () => (await fetch(new URL("model.json", FILES))).json();

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/**
 * Draw boxes: [{ box, kind, index, label, isFirst }], in fractions of the image; the last is on top. A label without
 * room is left out; those that are `isFirst` are placed before the others.
 */
export function drawBoxes(svg, boxes) {
  const { width, height } = svg.viewBox.baseVal;
  const rects = boxes.map(({ box: [left, top, right, bottom], kind, index }) => {
    const rect = document.createElementNS(SVG, "rect");
    const sides = { x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height };
    for (const [key, value] of Object.entries(sides)) rect.setAttribute(key, value);
    rect.setAttribute("class", kind);
    if (index !== undefined) rect.dataset.index = index;
    return rect;
  });
  svg.replaceChildren(...rects, ...labels(boxes, width, height));
}

const ruler = document.createElement("canvas").getContext("2d"), { fontFamily } = getComputedStyle(document.body);

/** The labels of boxes, each above, below or within its box, where it overlaps no other. */
function labels(boxes, width, height) {
  const em = 0.042 * Math.min(width, height * 1.5), taken = [];
  ruler.font = `700 ${em}px ${fontFamily}`;
  const named = boxes.filter(({ label }) => label).sort((a, b) => Boolean(b.isFirst) - Boolean(a.isFirst));
  return named.flatMap(({ box: [left, top, right, bottom], kind, label }) => {
    const length = ruler.measureText(label).width + 0.3 * em;
    const lines = [[top, -0.3], [bottom, 1.1], [top, 1.1], [bottom, -0.3]].map(([side, ems]) => side * height + ems * em);
    const starts = [left * width, right * width - length].map((x) => Math.max(Math.min(x, width - length), 0.15 * em));
    const place = starts.flatMap((x) => lines.map((y) => ({ x, y, length }))).find(({ x, y }) =>
      y >= em && y <= height - 0.2 * em && !taken.some((other) =>
        Math.abs(other.y - y) < 1.3 * em && x < other.x + other.length && other.x < x + length));
    if (!place) return [];
    taken.push(place);
    const text = document.createElementNS(SVG, "text"), { x, y } = place;
    for (const [key, value] of Object.entries({ x, y, "font-size": em, class: kind })) text.setAttribute(key, value);
    text.textContent = label;
    return [text];
  });
}

/** Give an image and the boxes over it the size of a picture in pixels. */
export function fit(canvas, svg, width, height) {
  [canvas.width, canvas.height] = [width, height];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
}

/** Fill a list of which one line can be chosen, and keep what was chosen if it is still there. */
export function fillList(list, lines) {
  const chosen = list.value;
  list.replaceChildren(...lines.map(({ value, text }) => element("option", { value }, text)));
  list.value = lines.some(({ value }) => String(value) === chosen) ? chosen : "";
}

/** Fill the body of a table. */
export function fillTable(body, rows) {
  body.replaceChildren(...rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell)))));
}

/** Buttons with the scenes; `choose` is called with the address of each that is pressed. */
export function sceneButtons(parent, count, choose) {
  for (let i = 0; i < count; i++) {
    const address = new URL(`scene-${i}.png`, FILES).href;
    const button = element("button", { type: "button", "aria-pressed": "false", "aria-label": `Scene ${i + 1}` },
      element("img", { src: address, alt: "", width: 64, height: 64 }));
    button.addEventListener("click", () => choose(address, button));
    parent.append(button);
  }
  return [...parent.querySelectorAll("button")];
}

export function press(buttons, pressed) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button === pressed));
}

/** An image file, or the image at an address: upright, opaque, colours as in the file. Rejects with an ImageError. */
export async function readImage(source, mostPixels) {
  const blob = source instanceof Blob ? source : await (await fetch(source)).blob();
  const { width, height } = await sizeOf(blob);
  if (width * height > mostPixels) {
    const most = `${Math.floor(mostPixels / 1e6)} million`;
    throw new ImageError(`# has ${width} × ${height} pixels, more than ${most}: make it smaller.`);
  }
  try {
    return await createImageBitmap(await opaque(blob), { colorSpaceConversion: "none" });
  } catch (error) {
    if (error instanceof ImageError) throw error;
    throw new ImageError(`# (${width} × ${height} pixels) is damaged, or too large for this browser.`);
  }
}

/** The size that an image file says it has; a browser knows it before it decodes the image. */
async function sizeOf(blob) {
  const image = new Image(), address = URL.createObjectURL(blob);
  try {
    await new Promise((resolve, reject) => {
      [image.onload, image.onerror] = [resolve, reject];
      image.src = address;
    });
  } catch {
    throw new ImageError("This browser cannot read # as an image, or it is too large: choose a JPEG, PNG or WebP file.");
  } finally {
    URL.revokeObjectURL(address);
  }
  return { width: image.naturalWidth, height: image.naturalHeight };
}

/** The pixels of an image, RGBA. */
export function pixelsOf(image) {
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, image.width, image.height);
}
