// The page "Anchors and matching": which anchors a box makes positive, and why. No network.

import { assignAnchors, mapOf, multiboxPrior } from "./boxes.js";
import { drawBoxes, element, fillList, fillTable, fit, press, readImage, readModel, sceneButtons } from "./stage.js";

const MOST_BOXES = 4, SMALLEST = 0.02, STEP = 1 / 256, NEAR = 20;
const page = document.getElementById("matching");
const part = (name) => page.querySelector(`[data-part=${name}]`);
const svg = part("boxes"), list = part("list"), threshold = part("threshold"), map = part("map");
const sides = ["left", "top", "right", "bottom"].map(part);
let model, buttons, anchors, result, shown, boxes = [[0.4, 0.44, 0.65, 0.57]], current = 0, drag = null;

/** The sliders of the chosen map: one for each size and ratio. */
function makeSliders() {
  const at = Number(map.value);
  const slider = (kind, values, i, min, max) => {
    const name = `${kind === "sizes" ? "Size" : "Ratio"} ${i + 1}`;
    const output = element("span", { class: "value" }, values[i].toFixed(2));
    const input = element("input", { type: "range", min, max, step: 0.01, value: values[i], "aria-label": name });
    input.addEventListener("input", () => {
      values[i] = input.valueAsNumber;
      output.textContent = values[i].toFixed(2);
      show();
    });
    return element("label", { class: "slider" }, `${name} `, output, input);
  };
  part("shapes").replaceChildren(
    ...model.anchors.sizes[at].map((_, i) => slider("sizes", model.anchors.sizes[at], i, 0.05, 1)),
    ...model.anchors.ratios[at].map((_, i) => slider("ratios", model.anchors.ratios[at], i, 0.2, 5)),
  );
}

/** Match again, and show all of it. */
function show() {
  part("threshold-value").textContent = threshold.valueAsNumber.toFixed(2);
  anchors = model.feature_map_sizes.flatMap((side, i) => multiboxPrior(side, model.anchors.sizes[i], model.anchors.ratios[i]));
  result = assignAnchors(boxes, anchors, threshold.valueAsNumber);
  Object.assign(page, { result: { ...result, boxes, anchors } });
  const { assigned, why, overlaps } = result;
  const best = (anchor) => Math.max(...overlaps.map((row) => row[anchor]));
  const positive = [...anchors.keys()].filter((anchor) => assigned[anchor] >= 0);
  const overlap = (anchor) => (assigned[anchor] < 0 ? best(anchor) : overlaps[assigned[anchor]][anchor]);
  const near = [...anchors.keys()].filter((anchor) => assigned[anchor] < 0 && best(anchor) > 0)
    .sort((a, b) => best(b) - best(a)).slice(0, NEAR);
  positive.sort((a, b) => overlap(b) - overlap(a));
  shown = [...positive, ...near];
  fillList(list, shown.map((anchor) => ({ value: anchor, text: line(anchor, overlap(anchor)) })));
  fillTable(part("maps"), model.feature_map_sizes.map((side, i) => {
    const mine = positive.filter((anchor) => mapOf(anchor, model) === i);
    const claimed = mine.filter((anchor) => why[anchor] === "claimed").length;
    return [`${side} × ${side}`, mine.length - claimed, claimed];
  }));
  const claimed = positive.filter((anchor) => why[anchor] === "claimed").length;
  part("status").textContent = `${positive.length} of ${anchors.length} anchors are positive: ` +
    `${positive.length - claimed} by the threshold, ${claimed} as the best one left.`;
  draw();
}

function line(anchor, overlap) {
  const { assigned, why } = result, side = model.feature_map_sizes[mapOf(anchor, model)];
  const reason = { threshold: "threshold", claimed: "the best one left", "": "background" }[why[anchor]];
  const box = assigned[anchor] >= 0 && boxes.length > 1 ? `, box ${assigned[anchor] + 1}` : "";
  return `IoU ${overlap.toFixed(3)}${box}: ${reason}, ${side} × ${side}`;
}

function draw() {
  const { assigned, why } = result, picked = list.value === "" ? -1 : Number(list.value);
  const drawn = [...anchors.keys()].filter((anchor) => assigned[anchor] >= 0)
    .map((anchor) => ({ box: anchors[anchor], kind: why[anchor] }));
  if (picked >= 0) drawn.push({ box: anchors[picked], kind: "picked" });
  boxes.forEach((box, i) => {
    const isFirst = i === current;
    drawn.push({ box, kind: `object${isFirst ? " current" : ""}`, label: `box ${i + 1}`, index: i, isFirst });
  });
  const [, , right, bottom] = boxes[current], half = 0.02;
  drawn.push({ box: [right - half, bottom - half, right + half, bottom + half], kind: "handle", index: "handle" });
  drawBoxes(svg, drawn);
  sides.forEach((input, i) => { input.value = Math.round(boxes[current][i] * 256); });
  part("why").textContent = picked < 0 ? "Choose an anchor in the list to see it." : explain(picked);
  part("current").textContent = `Box ${current + 1}`;
  part("remove").disabled = boxes.length === 1;
  part("add").disabled = boxes.length === MOST_BOXES;
}

function explain(anchor) {
  const { assigned, why, overlaps } = result, limit = threshold.valueAsNumber.toFixed(2);
  const all = overlaps.map((row, i) => `${row[anchor].toFixed(3)} with box ${i + 1}`).join(", ");
  const name = `box ${assigned[anchor] + 1}`;
  const reason = {
    threshold: `Positive: its IoU with ${name} is at least ${limit}, and no box overlaps it more.`,
    claimed: `Positive: of the anchors that were left, this one overlaps ${name} most. So ${name} claims it.`,
    "": `Background: its IoU is below ${limit} with every box, and no box claims it.`,
  }[why[anchor]];
  return `Anchor ${anchor}. ${reason} IoU: ${all}.`;
}

/** Change the current box, within the image and not too small. */
function change([left, top, right, bottom]) {
  const limit = (value, from, to) => Math.min(Math.max(value, from), to);
  left = limit(left, 0, 1 - SMALLEST);
  top = limit(top, 0, 1 - SMALLEST);
  boxes[current] = [left, top, limit(right, left + SMALLEST, 1), limit(bottom, top + SMALLEST, 1)];
  show();
}

function move(box, dx, dy) {
  dx = Math.min(Math.max(dx, -box[0]), 1 - box[2]);
  dy = Math.min(Math.max(dy, -box[1]), 1 - box[3]);
  change([box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy]);
}

const place = (event) => {
  const { left, top, width, height } = svg.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height];
};

svg.addEventListener("pointerdown", (event) => {
  const { index } = event.target.dataset;
  if (index !== undefined && index !== "handle") current = Number(index);
  const at = place(event);
  if (index === undefined) change([...at, ...at]); // a new place for the current box
  drag = { at, box: [...boxes[current]], stretch: index === undefined || index === "handle" };
  svg.setPointerCapture(event.pointerId);
  svg.focus({ preventScroll: true });
  draw();
});
svg.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = place(event), dx = x - drag.at[0], dy = y - drag.at[1], box = drag.box;
  if (drag.stretch) change([box[0], box[1], box[2] + dx, box[3] + dy]);
  else move(box, dx, dy);
});
for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { drag = null; });

svg.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
  if (!step) return;
  event.preventDefault();
  const box = boxes[current];
  if (event.shiftKey) change([box[0], box[1], box[2] + step[0], box[3] + step[1]]);
  else move(box, ...step);
});

sides.forEach((input) => input.addEventListener("change", () => change(sides.map((side) => Number(side.value) / 256))));
threshold.addEventListener("input", show);
list.addEventListener("input", draw);
map.addEventListener("change", makeSliders);
part("add").addEventListener("click", () => {
  boxes.push([0.6, 0.1, 0.8, 0.3].map((side, i) => side + (i % 2) * 0.1 * boxes.length));
  current = boxes.length - 1;
  show();
});
part("remove").addEventListener("click", () => {
  boxes.splice(current, 1);
  current = 0;
  show();
});
part("next").addEventListener("click", () => {
  current = (current + 1) % boxes.length;
  draw();
});

async function choose(address, button) {
  const image = await readImage(address);
  fit(part("image"), svg, image.width, image.height);
  part("image").getContext("2d").drawImage(image, 0, 0);
  press(buttons, button);
  show();
}

async function begin() {
  page.hidden = false;
  model = await readModel();
  map.append(...model.feature_map_sizes.map((side, i) => element("option", { value: i }, `${side} × ${side}`)));
  map.value = 1;
  makeSliders();
  buttons = sceneButtons(part("scenes"), model.scenes, choose);
  await choose(buttons[0].querySelector("img").src, buttons[0]);
  page.dataset.ready = true;
}

begin();
