// One line chart as SVG: raw and smoothed curves, a crosshair, zoom by dragging. It knows nothing about runs.
window.studio = window.studio || {};

window.studio.Chart = class {
  // `curves` is a list of {name, className}; points come later as [[step, value], ...] through `set`.
  constructor(host, title, curves, format) {
    this.host = host;
    this.curves = curves.map((curve) => ({ ...curve, points: [] }));
    this.format = format || studio.short;
    this.zoom = null;
    this.logarithmic = false;
    host.classList.add("chart");
    host.innerHTML = `<div class="chart-head"><h3></h3><span class="legend"></span><span class="reading"></span></div>
      <svg role="img" preserveAspectRatio="none"></svg><p class="chart-empty"></p>`;
    host.querySelector("h3").textContent = title;
    host.querySelector("svg").setAttribute("aria-label", title);
    host.querySelector(".chart-empty").textContent = studio.say("page.runs.charts.empty");
    this.svg = host.querySelector("svg");
    this.reading = host.querySelector(".reading");
    host.redraw = () => this.draw();
    this.drawLegend();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(host);
  }

  drawLegend() {
    const legend = this.host.querySelector(".legend");
    legend.textContent = "";
    if (this.curves.length < 2) return;
    for (const curve of this.curves) {
      const entry = document.createElement("span");
      entry.className = `key ${curve.className}`;
      entry.textContent = curve.name;
      legend.append(entry);
    }
  }

  set(lists) {
    lists.forEach((points, index) => { this.curves[index].points = points; });
    this.draw();
  }

  scale(value) { return this.logarithmic ? Math.log10(value) : value; }

  usable(points) {
    const [from, to] = this.zoom || [-Infinity, Infinity];
    return points.filter(([step, value]) => step >= from && step <= to && (!this.logarithmic || value > 0));
  }

  range(lists) {
    const all = lists.flat();
    if (!all.length) return null;
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const [step, value] of all) {
      const y = this.scale(value);
      x0 = Math.min(x0, step); x1 = Math.max(x1, step); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
    }
    if (this.zoom) [x0, x1] = this.zoom;
    const pad = (y1 - y0 || Math.abs(y1) || 1) * 0.06;
    return { x0, x1: x1 > x0 ? x1 : x0 + 1, y0: y0 - pad, y1: y1 + pad };
  }

  draw() {
    const lists = this.curves.map((curve) => this.usable(curve.points));
    const range = this.range(lists);
    this.host.classList.toggle("is-empty", !range);
    const width = this.svg.clientWidth, height = this.svg.clientHeight;
    if (!range || !width) return;
    const box = { left: 54, right: width - 8, top: 8, bottom: height - 20 };
    this.x = (step) => box.left + ((step - range.x0) / (range.x1 - range.x0)) * (box.right - box.left);
    this.y = (value) => box.bottom - ((this.scale(value) - range.y0) / (range.y1 - range.y0)) * (box.bottom - box.top);
    this.step = (x) => range.x0 + ((x - box.left) / (box.right - box.left)) * (range.x1 - range.x0);
    this.box = box;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.innerHTML = this.grid(range, box) + this.marks(range, box) + lists.map((points, index) => this.line(points, index)).join("") +
      '<rect class="zoom" hidden></rect><line class="cross" hidden></line><circle class="mark" r="3.5" hidden></circle>';
  }

  // Where something was found in the numbers of the run: a dashed line at the step, in the colour of its weight.
  marks(range, box) {
    return (studio.markedSteps || []).filter(({ step, chart }) => chart === this.host.dataset.figure && step >= range.x0 && step <= range.x1).map(({ step, severity }) =>
      `<line class="found ${severity}" x1="${this.x(step).toFixed(1)}" x2="${this.x(step).toFixed(1)}" y1="${box.top}" y2="${box.bottom}"></line>`).join("");
  }

  line(points, index) {
    if (!points.length) return "";
    const path = points.map(([step, value], at) => `${at ? "L" : "M"}${this.x(step).toFixed(1)} ${this.y(value).toFixed(1)}`);
    const dots = points.length < 25
      ? points.map(([step, value]) => `<circle class="dot ${this.curves[index].className}" r="2" cx="${this.x(step).toFixed(1)}" cy="${this.y(value).toFixed(1)}"/>`).join("")
      : "";
    return `<path class="curve ${this.curves[index].className}" d="${path.join("")}"/>${dots}`;
  }

  grid(range, box) {
    const rows = studio.ticks(range.y0, range.y1, 4).map((tick) => {
      const value = this.logarithmic ? 10 ** tick : tick;
      const y = (box.bottom - ((tick - range.y0) / (range.y1 - range.y0)) * (box.bottom - box.top)).toFixed(1);
      return `<line class="grid" x1="${box.left}" x2="${box.right}" y1="${y}" y2="${y}"/>` +
        `<text class="tick" x="${box.left - 6}" y="${y}" dy="0.32em" text-anchor="end">${this.format(value)}</text>`;
    });
    const columns = studio.ticks(range.x0, range.x1, 5).filter((tick) => Number.isInteger(tick)).map((tick) =>
      `<text class="tick" x="${Math.min(this.x(tick), box.right + 6).toFixed(1)}" y="${box.bottom + 15}" text-anchor="${this.x(tick) > box.right - 14 ? "end" : "middle"}">${studio.short(tick)}</text>`);
    return rows.join("") + columns.join("");
  }

  listen() {
    let from = null;
    const at = (event) => event.clientX - this.svg.getBoundingClientRect().left;
    this.svg.addEventListener("pointermove", (event) => {
      if (!this.x) return;
      this.point(at(event));
      if (from !== null) this.band(from, at(event));
    });
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.svg.addEventListener("pointerdown", (event) => { from = at(event); this.svg.setPointerCapture(event.pointerId); });
    this.svg.addEventListener("pointerup", (event) => {
      const to = at(event), start = from;
      from = null;
      if (start === null || Math.abs(to - start) < 8) return this.draw();
      this.zoom = [this.step(Math.min(start, to)), this.step(Math.max(start, to))];
      this.draw();
    });
    this.svg.addEventListener("dblclick", () => { this.zoom = null; this.draw(); });
  }

  band(from, to) {
    const band = this.svg.querySelector(".zoom");
    if (!band) return;
    band.removeAttribute("hidden");
    band.setAttribute("x", Math.min(from, to)); band.setAttribute("width", Math.abs(to - from));
    band.setAttribute("y", this.box.top); band.setAttribute("height", this.box.bottom - this.box.top);
  }

  // Show the value nearest to the pointer, of the curve drawn last: the smoothed one where there are two.
  point(x) {
    const cross = this.svg.querySelector(".cross"), mark = this.svg.querySelector(".mark");
    const lists = this.curves.map((curve) => this.usable(curve.points)).filter((points) => points.length);
    if (x === null || !cross || !lists.length) {
      this.reading.textContent = "";
      cross?.setAttribute("hidden", ""); mark?.setAttribute("hidden", "");
      return;
    }
    const step = this.step(x);
    const close = (points) => points.reduce((best, point) => Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best);
    const nearest = close(lists.at(-1));
    for (const [name, value] of [["x1", this.x(nearest[0])], ["x2", this.x(nearest[0])], ["y1", this.box.top], ["y2", this.box.bottom]])
      cross.setAttribute(name, value);
    mark.setAttribute("cx", this.x(nearest[0])); mark.setAttribute("cy", this.y(nearest[1]));
    cross.removeAttribute("hidden"); mark.removeAttribute("hidden");
    const values = lists.map((points) => this.format(close(points)[1], true)).reverse().join(" · ");
    this.reading.textContent = `${studio.say("page.runs.step")} ${nearest[0]}: ${values}`;
  }
};

// Round numbers between two ends, about `count` of them.
window.studio.ticks = (from, to, count) => {
  const rough = (to - from) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) || power;
  const found = [];
  for (let tick = Math.ceil(from / step) * step; tick <= to + step * 1e-9; tick += step) found.push(Number(tick.toPrecision(12)));
  return found;
};

// A number in few characters: 1.523, 2e-4, 12.3k. With `exact`, two digits more.
window.studio.short = (value, exact) => {
  const size = Math.abs(value), digits = exact ? 5 : 3;
  if (value === 0) return "0";
  if (size < 1e-3) return value.toExponential(exact ? 3 : 1).replace("e-", "e−").replace(".0e", "e");
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(digits))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(digits))}k`;
  return String(Number(value.toPrecision(size >= 1000 ? Math.max(4, digits) : digits)));
};

window.studio.bytes = (value, exact) => {
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (Math.abs(value) < 1024) return `${Number(value.toPrecision(exact ? 4 : 3))} ${unit}`;
    value /= 1024;
  }
  return `${Number(value.toPrecision(3))} TB`;
};

window.studio.time = (seconds) => {
  const whole = Math.max(0, Math.round(seconds)), two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
};
