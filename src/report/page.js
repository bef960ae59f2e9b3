/* Draws the chosen metric as lines with bands, with a legend that shows values and hides lines. */
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const choice = document.getElementById("metric");
const isLog = document.getElementById("log");
const chart = document.getElementById("chart");
const legend = document.getElementById("legend");
const along = document.getElementById("along");
const hidden = new Set();
let drawn = null;

const colour = (group) => `var(--c${group % 7})`;
const dash = (group) => ["", "10 6", "3 6"][Math.floor(group / 7) % 3];

function element(name, attributes, text) {
  const made = document.createElementNS(chart.namespaceURI, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toPrecision(3) / 1 + "G";
  if (size >= 1e6) return (value / 1e6).toPrecision(3) / 1 + "M";
  if (size >= 1e4) return (value / 1e3).toPrecision(3) / 1 + "k";
  return String(Number(value.toPrecision(4))).replace("-", "\u2212");
}

function ticks(low, high, most) {
  const raw = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((candidate) => candidate >= raw) || raw;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const digit of high - low > 4 ? [1] : high - low > 1 ? [1, 3] : [1, 2, 5]) {
      const at = power + Math.log10(digit);
      if (at >= low - 1e-9 && at <= high + 1e-9) found.push(at);
    }
  }
  return found.length > 1 ? found : [low, high];
}

function draw() {
  const figure = data.figures[choice.value];
  const shown = figure.lines.filter((line) => !hidden.has(line.group));
  const all = shown.flatMap((line) => [...line.line.map((p) => p[1]), ...line.band.flatMap((p) => [p[1], p[2]])]);
  const canLog = all.length > 0 && all.every((value) => value > 0);
  isLog.disabled = !canLog;
  const scale = isLog.checked && canLog ? Math.log10 : (value) => value;
  let low = Math.min(...all.map(scale)), high = Math.max(...all.map(scale));
  if (all.length === 0) [low, high] = [0, 1];
  if (high - low < 1e-12 * Math.max(1, Math.abs(high))) {
    const half = scale === Math.log10 ? 0.1 : Math.abs(high) * 0.1 || 1;
    [low, high] = [low - half, high + half];
  }
  const room = 0.04 * (high - low);
  [low, high] = [low - room, high + room];
  const end = Math.max(1e-9, ...shown.flatMap((line) => line.line.map((point) => point[0])));

  const width = chart.clientWidth || 640, height = chart.clientHeight || 380;
  const yTicks = scale === Math.log10 ? logTicks(low, high) : ticks(low, high, 6);
  const label = (tick) => short(scale === Math.log10 ? 10 ** tick : tick);
  const left = 14 + 8 * Math.max(...yTicks.map((tick) => label(tick).length));
  const right = width - 14, top = 10, bottom = height - 48;
  const x = (step) => left + (right - left) * step / end;
  const y = (value) => bottom - (bottom - top) * (scale(value) - low) / (high - low);
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren();
  chart.setAttribute("aria-label", `${figure.value} against ${figure.along}`);
  for (const tick of yTicks) {
    const at = bottom - (bottom - top) * (tick - low) / (high - low);
    chart.append(element("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }));
    chart.append(element("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, label(tick)));
  }
  for (const tick of ticks(0, end, Math.max(2, Math.floor(width / 110)))) {
    chart.append(element("line", { class: "grid", x1: x(tick), x2: x(tick), y1: top, y2: bottom }));
    chart.append(element("text", { x: x(tick), y: bottom + 18, "text-anchor": "middle" }, short(tick)));
  }
  chart.append(element("path", { class: "axis", fill: "none", d: `M${left} ${top}V${bottom}H${right}` }));
  const middle = (left + right) / 2;
  chart.append(element("text", { x: middle, y: height - 8, "text-anchor": "middle" }, figure.along));
  const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  for (const { group, band } of shown.filter((line) => line.band.length > 1)) {
    const outline = [...band.map((p) => [p[0], p[2]]), ...band.slice().reverse().map((p) => [p[0], p[1]])];
    chart.append(element("path", { class: "band", style: `fill:${colour(group)}`, d: path(outline) + "Z" }));
  }
  for (const { group, line } of shown) {
    const style = `stroke:${colour(group)}`;
    chart.append(element("path", { class: "line", style, "stroke-dasharray": dash(group), d: path(line) }));
    for (const [a, b] of line.length > 30 ? [] : line) {
      chart.append(element("circle", { cx: x(a), cy: y(b), r: 3, style: `fill:${colour(group)}` }));
    }
  }
  const cursor = element("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
  chart.append(cursor);
  drawn = { figure, left, right, end, cursor, x };
  tell(null);
}

/* Writes the legend, with the values at `step`, or the last ones. */
function tell(step) {
  const { figure } = drawn;
  along.textContent = figure.value + (step === null ? "." : `, at ${short(step)} ${figure.along}.`);
  const entries = figure.lines.map(({ group, line }) => {
    const last = line[line.length - 1];
    if (step === null) return { group, value: short(last[1]) };
    if (step < line[0][0] || step > last[0]) return { group, value: "\u2013" };
    const nearer = (best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best);
    return { group, value: short(line.reduce(nearer)[1]) };
  });
  if (legend.children.length !== entries.length || legend.dataset.metric !== choice.value) {
    legend.dataset.metric = choice.value;
    legend.replaceChildren(...entries.map(({ group }) => {
      const button = document.createElement("button");
      button.type = "button";
      const swatch = document.createElement("i");
      swatch.style.borderTopColor = colour(group);
      swatch.style.borderTopStyle = ["solid", "dashed", "dotted"][Math.floor(group / 7) % 3];
      button.append(swatch, data.groups[group], document.createElement("b"));
      button.addEventListener("click", () => {
        if (!hidden.delete(group)) hidden.add(group);
        draw();
      });
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
  }
  entries.forEach(({ group, value }, i) => {
    const button = legend.children[i].firstChild;
    button.setAttribute("aria-pressed", String(!hidden.has(group)));
    button.lastChild.textContent = value;
  });
}

function point(event) {
  const box = chart.getBoundingClientRect();
  const { left, right, end, cursor, x } = drawn;
  const step = end * (event.clientX - box.left - left) / (right - left);
  if (step < 0 || step > end) return leave();
  cursor.setAttribute("x1", x(step));
  cursor.setAttribute("x2", x(step));
  cursor.setAttribute("visibility", "visible");
  tell(step);
}

function leave() {
  drawn.cursor.setAttribute("visibility", "hidden");
  tell(null);
}

choice.addEventListener("change", draw);
isLog.addEventListener("change", draw);
chart.addEventListener("pointermove", point);
chart.addEventListener("pointerdown", point);
chart.addEventListener("pointerleave", leave);
new ResizeObserver(draw).observe(chart);
draw();
