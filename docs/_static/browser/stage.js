// An image with boxes over it, and the small parts of a page that both pages have.

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Draw boxes: [{ box, kind, label, ...data attributes }], in fractions of the image; the last is on top. */
export function drawBoxes(svg, boxes) {
  const { width, height } = svg.viewBox.baseVal;
  svg.replaceChildren(...boxes.flatMap(({ box: [left, top, right, bottom], kind, label, index }) => {
    const rect = document.createElementNS(SVG, "rect");
    const sides = { x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height };
    for (const [key, value] of Object.entries(sides)) rect.setAttribute(key, value);
    rect.setAttribute("class", kind);
    if (index !== undefined) rect.dataset.index = index;
    if (!label) return [rect];
    const text = document.createElementNS(SVG, "text");
    text.setAttribute("x", Math.min(Math.max(left, 0.005), 0.8) * width);
    text.setAttribute("y", Math.max(top * height - 0.008 * height, 0.045 * height));
    text.setAttribute("font-size", 0.042 * Math.min(width, height * 1.5));
    text.setAttribute("class", kind);
    text.textContent = label;
    return [rect, text];
  }));
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
  const base = new URL("../detector/", import.meta.url);
  for (let i = 0; i < count; i++) {
    const address = new URL(`scene-${i}.png`, base).href;
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

/** The pixels of an image file or of an address, upright, colours as in the file. */
export async function readImage(source) {
  const blob = source instanceof Blob ? source : await (await fetch(source)).blob();
  return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}
