"use strict";
// The interactive page on beta. The formulas are those of replication/theory/effective_number.py and
// replication/data/long_tail.py; a browser test compares the two number by number.

function effectiveNumber(n, beta) { // (1 - beta^n) / (1 - beta), Proposition 1
  if (beta === 1) return n;
  const gap = 1 - beta;
  return -Math.expm1(n * (beta < 0.5 ? Math.log(beta) : Math.log1p(-gap))) / gap;
}

function longTailedCounts(largest, classes, imbalance) { // Section 5.1
  const steps = Math.max(classes - 1, 1);
  return Array.from({ length: classes }, (_, i) => Math.floor(largest * (1 / imbalance) ** (i / steps)));
}

function classBalancedWeights(counts, beta) { // proportional to 1 / E_n, sum to the number of classes
  const inverse = counts.map((n) => 1 / effectiveNumber(n, beta));
  const total = inverse.reduce((a, b) => a + b, 0);
  return inverse.map((w) => (w * counts.length) / total);
}

function describeWeights(counts, beta) {
  const weights = classBalancedWeights(counts, beta);
  const covered = counts.map((n) => effectiveNumber(n, beta));
  const samples = counts.reduce((a, b) => a + b, 0);
  const ratio = Math.max(...weights) / Math.min(...weights);
  let remark = "";
  if (ratio <= 1.01) remark = "no effect: all weights are equal within 1 %";
  else if (ratio >= Math.max(...counts) / Math.min(...counts) / 1.1) remark = "close to inverse class frequency";
  return {
    smallest: Math.min(...covered),
    largest: Math.max(...covered),
    weight_ratio: ratio,
    mean_weight: counts.reduce((sum, n, c) => sum + n * weights[c], 0) / samples,
    remark,
  };
}

const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 360, height: 250, left: 52, right: 10, top: 12, bottom: 38 };

function draw(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
}

function scale(low, high, from, to, log) {
  const f = log ? Math.log10 : (v) => v;
  const span = f(high) - f(low) || 1;
  return (v) => from + ((f(v) - f(low)) / span) * (to - from);
}

function axes(svg, x, y, xTicks, yTicks, xLabel, yLabel) {
  svg.replaceChildren();
  const bottom = BOX.height - BOX.bottom;
  for (const v of xTicks) {
    draw(svg, "line", { x1: x(v), x2: x(v), y1: BOX.top, y2: bottom, class: "grid" });
    draw(svg, "text", { x: x(v), y: bottom + 14, "text-anchor": "middle" }, short(v));
  }
  for (const v of yTicks) {
    draw(svg, "line", { x1: BOX.left, x2: BOX.width - BOX.right, y1: y(v), y2: y(v), class: "grid" });
    draw(svg, "text", { x: BOX.left - 5, y: y(v) + 4, "text-anchor": "end" }, short(v));
  }
  draw(svg, "text", { x: (BOX.left + BOX.width - BOX.right) / 2, y: BOX.height - 6, "text-anchor": "middle" }, xLabel);
  const middle = (BOX.top + bottom) / 2;
  draw(svg, "text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, yLabel);
}

function short(v) {
  return v >= 10000 || v < 0.01 ? v.toExponential(0).replace("+", "") : String(Number(v.toPrecision(2)));
}

function decades(low, high) {
  const ticks = [];
  for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++) ticks.push(10 ** k);
  return ticks;
}

function path(points, x, y) {
  return points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(2)},${y(b).toFixed(2)}`).join("");
}

function drawEffectiveNumbers(svg, counts, beta) {
  const high = 10 ** Math.max(1, Math.ceil(Math.log10(counts[0])));
  const x = scale(1, high, BOX.left, BOX.width - BOX.right, true);
  const y = scale(1, high, BOX.height - BOX.bottom, BOX.top, true);
  axes(svg, x, y, decades(1, high), decades(1, high), "samples of a class, n", "effective number");
  const grid = Array.from({ length: 101 }, (_, i) => high ** (i / 100));
  draw(svg, "path", { d: path(grid.map((n) => [n, n]), x, y), class: "inverse" });
  draw(svg, "path", { d: path(grid.map((n) => [n, 1]), x, y), class: "plain" });
  draw(svg, "path", { d: path(grid.map((n) => [n, effectiveNumber(n, beta)]), x, y), class: "ours" });
  for (const n of counts) draw(svg, "circle", { cx: x(n), cy: y(effectiveNumber(n, beta)), r: 2.5 });
}

function drawWeights(svg, counts, weights) {
  const inverse = classBalancedWeights(counts, 1);
  const ticks = decades(Math.min(...inverse, ...weights) * 0.999, Math.max(...inverse, ...weights));
  const x = scale(1, counts.length, BOX.left + 6, BOX.width - BOX.right - 6, false);
  const y = scale(ticks[0], ticks[ticks.length - 1], BOX.height - BOX.bottom, BOX.top, true);
  axes(svg, x, y, [1, counts.length], ticks, "class, largest first", "weight");
  const curve = (values) => path(values.map((w, i) => [i + 1, w]), x, y);
  draw(svg, "path", { d: curve(inverse), class: "inverse" });
  draw(svg, "path", { d: curve(counts.map(() => 1)), class: "plain" });
  draw(svg, "path", { d: curve(weights), class: "ours" });
}

// Each slider moves a number field; the fields are what counts. Sliders of beta, size and imbalance are logarithmic.
const FROM_SLIDER = {
  beta: (v) => 1 - 10 ** -v,
  largest: (v) => Math.round(10 ** v),
  imbalance: (v) => Number((10 ** v).toPrecision(3)),
  classes: (v) => v,
};
const TO_SLIDER = {
  beta: (v) => -Math.log10(1 - v),
  largest: Math.log10,
  imbalance: Math.log10,
  classes: (v) => v,
};

function update(tool) {
  const field = (name) => tool.querySelector(`#${name}`);
  const [beta, largest, imbalance, classes] = Object.keys(FROM_SLIDER).map((name) => Number(field(name).value));
  const counts = longTailedCounts(largest, classes, imbalance);
  const allowed = beta >= 0 && beta <= 1 && imbalance >= 1 && Number.isInteger(classes) && classes >= 1;
  const warning = tool.querySelector(".warning");
  warning.hidden = Boolean(allowed && counts[classes - 1] >= 1);
  if (!warning.hidden) return;
  const summary = describeWeights(counts, beta);
  const show = (id, value) => {
    const output = tool.querySelector(`#${id}`);
    output.value = typeof value === "number" ? Number(value.toPrecision(4)).toString() : value || "none";
    output.dataset.value = value;
  };
  const { largest: most, ...rest } = summary;
  show("largest-covered", most);
  for (const [name, value] of Object.entries(rest)) show(name.replace("_", "-"), value);
  show("shrinks", 1 / summary.mean_weight);
  show("tail", counts[classes - 1]);
  drawEffectiveNumbers(tool.querySelector("#effective-numbers"), counts, beta);
  drawWeights(tool.querySelector("#weights"), counts, classBalancedWeights(counts, beta));
}

function start(tool) {
  for (const name of Object.keys(FROM_SLIDER)) {
    const field = tool.querySelector(`#${name}`);
    const slider = tool.querySelector(`#${name}-slider`);
    slider.value = TO_SLIDER[name](Number(field.value));
    slider.addEventListener("input", () => {
      field.value = Number(FROM_SLIDER[name](Number(slider.value)).toPrecision(8));
      update(tool);
    });
    field.addEventListener("input", () => {
      slider.value = TO_SLIDER[name](Number(field.value));
      update(tool);
    });
  }
  update(tool);
}

document.addEventListener("DOMContentLoaded", () => start(document.getElementById("beta-tool")));
