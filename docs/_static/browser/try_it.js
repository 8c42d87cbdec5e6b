// The page "Try it": both exports run in this browser, and everything behind the network is done here.

import * as ort from "../detector/ort.wasm.min.mjs";
import { decode, mapOf, suppress } from "./boxes.js";
import { resize } from "./resize.js";
import {
  drawBoxes, FILES, fillList, fillTable, fit, pixelsOf, press, readImage, readModel, sceneButtons,
} from "./stage.js";

const FRAMEWORKS = { torch: "PyTorch", mxnet: "MXNet" };
const page = document.getElementById("detector");
const part = (name) => page.querySelector(`[data-part=${name}]`);
const canvas = part("image"), svg = part("boxes"), status = part("status"), why = part("why");
const list = part("list"), score = part("score"), nms = part("nms");
let model, sessions, buttons, found, size, shown = [], turn = 0;

const chosen = (name) => page.querySelector(`input[name=${name}]:checked`).value;
const percent = (number) => number.toFixed(2);
const inPixels = (box) => box.map((side, i) => Math.round(side * size[i % 2])).join(", ");

async function load() {
  ort.env.wasm.numThreads = 1; // more need headers that a simple server does not send
  ort.env.logLevel = "error";
  sessions = {};
  for (const name of Object.keys(FRAMEWORKS)) {
    const file = await (await fetch(new URL(`${name}.onnx`, FILES))).arrayBuffer();
    sessions[name] = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
  }
}

/** Pixels of an image as the network takes them: float32, channel by channel, minus the mean. */
function toTensor(pixels) {
  const side = model.image_size, area = side * side, values = new Float32Array(3 * area);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < area; i++) values[channel * area + i] = pixels[4 * i + channel] - model.mean[channel];
  }
  return new ort.Tensor("float32", values, [1, 3, side, side]);
}

/** Run both networks on an image, and show what they find. */
async function detect(source, name, button) {
  const mine = ++turn;
  status.textContent = `Reading ${name} …`;
  let image, pixels;
  try {
    image = await readImage(source, model.max_pixels);
    pixels = pixelsOf(image);
  } catch (error) {
    if (mine === turn) status.textContent = error.message.replace("#", () => name);
    return;
  }
  const start = performance.now(), { data, width, height } = pixels;
  const images = toTensor(resize(data, width, height, model.image_size, model.image_size));
  const outputs = {};
  for (const framework of Object.keys(FRAMEWORKS)) {
    const result = await sessions[framework].run({ images });
    outputs[framework] = Object.fromEntries(Object.entries(result).map(([key, tensor]) => [key, tensor.data]));
  }
  if (mine !== turn) return; // another image was chosen meanwhile
  fit(canvas, svg, width, height);
  canvas.getContext("2d").drawImage(image, 0, 0);
  size = [width, height];
  found = Object.fromEntries(Object.entries(outputs).map(([key, output]) => [key, decode(output, model)]));
  const largest = difference(outputs.torch, outputs.mxnet);
  part("difference").textContent = largest ? largest.toExponential(1) : "0";
  part("time").textContent = `${Math.round(performance.now() - start)} ms`;
  page.dataset.image = name;
  press(buttons, button);
  list.value = "";
  show();
}

/** The largest difference between two networks' logits and offsets. */
function difference(a, b) {
  let largest = 0;
  for (const key of ["cls_preds", "bbox_preds"]) {
    a[key].forEach((value, i) => { largest = Math.max(largest, Math.abs(value - b[key][i])); });
  }
  return largest;
}

/** Draw again, for the sliders' values. */
function show() {
  part("score-value").textContent = percent(score.valueAsNumber);
  part("nms-value").textContent = percent(nms.valueAsNumber);
  if (!found) return;
  const { kept, dropped } = suppress(found[chosen("framework")], score.valueAsNumber, nms.valueAsNumber, model);
  const view = chosen("view");
  shown = view === "dropped" ? dropped : kept;
  const names = new Map(kept.map((box, i) => [box, `${model.class_names[box.classId]} ${i + 1}`]));
  const name = (box) => names.get(box) ?? model.class_names[box.classId];
  const line = {
    kept: (box) => `${name(box)} ${percent(box.score)}: corners ${inPixels(box.box)}`,
    anchors: (box) => `${name(box)}: ${inPixels(box.anchorBox)}, map ${mapName(box)}`,
    dropped: (box) => `score ${percent(box.score)}, overlaps ${name(box.by)} by ${percent(box.iou)}`,
  }[view];
  fillList(list, shown.map((box) => ({ value: box.anchor, text: line(box) })));
  fillTable(part("maps"), model.feature_map_sizes.map((side, map) => {
    const count = (boxes) => boxes.filter((box) => mapOf(box.anchor, model) === map).length;
    return [`${side} × ${side}`, count(found[chosen("framework")]), count([...kept, ...dropped]), count(kept)];
  }));
  status.textContent = `${FRAMEWORKS[chosen("framework")]}: ${kept.length} kept, ${dropped.length} dropped by NMS.`;
  Object.assign(page, { result: { kept, dropped } });
  draw(kept, view, name);
}

function mapName(box) {
  const side = model.feature_map_sizes[mapOf(box.anchor, model)];
  return `${side} × ${side}`;
}

function draw(kept, view, name) {
  const box = shown.find(({ anchor }) => String(anchor) === list.value);
  // Large boxes come first, so that a small one on a large one can be pointed at.
  const area = ({ box: [left, top, right, bottom] }) => (right - left) * (bottom - top);
  const sorted = [...shown.keys()].sort((a, b) => area(shown[b]) - area(shown[a]));
  const boxes = sorted.map((index) => ({ box: shown[index].box, kind: view === "dropped" ? "dropped" : "kept", index }));
  if (view === "anchors") boxes.push(...sorted.map((index) => ({ box: shown[index].anchorBox, kind: "anchor", index })));
  const labelled = (kind) => kept.map((one) => (
    { box: one.box, kind, label: `${name(one)} ${percent(one.score)}`, isFirst: one === (box?.by ?? box) }));
  if (view === "dropped") boxes.unshift(...labelled("kept faint"));
  else boxes.push(...labelled("kept"));
  why.textContent = view === "dropped" ? "Choose or point at a dropped box to see the box that suppressed it." : "";
  if (box) {
    if (box.by) boxes.push({ box: box.by.box, kind: "by" });
    const picked = { box: view === "anchors" ? box.anchorBox : box.box, kind: "picked" };
    boxes.push(box.by ? { ...picked, label: `dropped ${percent(box.score)}`, isFirst: true } : picked);
    why.textContent = box.by
      ? `Dropped: ${name(box.by)} has a higher score (${percent(box.by.score)} over ${percent(box.score)}), and the ` +
        `IoU of the two is ${box.iou.toFixed(3)}, more than ${percent(nms.valueAsNumber)}.`
      : `${name(box)}: score ${box.score.toFixed(3)}, from anchor ${box.anchor} of the ${mapName(box)} map.`;
  }
  drawBoxes(svg, boxes);
}

function pointAt(event) {
  const index = event.target.dataset.index;
  if (index === undefined || list.value === String(shown[index].anchor)) return;
  list.value = shown[index].anchor;
  show();
}

function takeFile(file) {
  if (file) detect(file, file.name, null);
}

async function begin() {
  page.hidden = false;
  page.inert = true; // until the networks have loaded
  try {
    model = await readModel();
    buttons = sceneButtons(part("scenes"), model.scenes, (address, button) => detect(address, button.ariaLabel, button));
    await load();
  } catch (error) {
    status.textContent = `The detector cannot start in this browser: ${error.message}`;
    return;
  }
  for (const input of page.querySelectorAll("input[type=range], input[type=radio], select")) {
    input.addEventListener("input", show);
  }
  svg.addEventListener("pointerover", pointAt);
  svg.addEventListener("click", pointAt);
  part("file").addEventListener("change", (event) => takeFile(event.target.files[0]));
  // Beside the image, too: there a browser would leave the page and open the file.
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    takeFile(event.dataTransfer.files[0]);
    if (!event.dataTransfer.files.length) status.textContent = "That was no file. Drop an image file from your computer.";
  });
  page.inert = false;
  performance.mark("networks loaded");
  nms.value = model.nms_threshold;
  await detect(new URL("scene-0.png", FILES).href, "Scene 1", buttons[0]);
  performance.mark("first detection");
}

begin();
