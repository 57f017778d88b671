/* Charts of runs: [data-charts] with the addresses of their metrics in data-sources, one a run.

   One source: a line a metric, each in its colour. Several: a colour a run, metrics of one chart told apart by dashes.
   While a run is live its source is asked for what is new; the cursor of the last answer says what is known. */
"use strict";
/* global uPlot */

const POLL_MS = 2000;
const KEPT_POINTS = 3000; // a line; beyond it the source is read anew, thinned
const TABLE_ROWS = 20;
const DASHES = [[], [6, 4], [2, 3], [10, 4, 2, 4]];

const format = (value) => {
  if (value == null) return "–";
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude < 1e-3 || magnitude >= 1e7)) return value.toExponential(2).replace(/\.?0+e/, "e");
  return value.toLocaleString("en", { maximumSignificantDigits: magnitude >= 1e4 ? 6 : 4 });
};

class Source {
  constructor(url) {
    this.url = url;
    this.cursor = "";
    this.live = true;
    this.title = "";
    this.charts = new Map(); // title -> { unit, lines: Map(name -> { label, steps, values }) }
  }

  /* True when something came that was not known. */
  async read() {
    const answer = await fetch(`${this.url}?since=${encodeURIComponent(this.cursor)}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const data = await answer.json();
    this.live = data.live;
    this.title = data.title;
    if (data.cursor === this.cursor && this.cursor !== "") return false;
    if (data.reset) this.charts.clear();
    for (const chart of data.charts) this.append(chart);
    this.cursor = this.tooLong() ? "" : data.cursor;
    return true;
  }

  append({ title, unit, series }) {
    if (!this.charts.has(title)) this.charts.set(title, { unit, lines: new Map() });
    const { lines } = this.charts.get(title);
    for (const { name, label, steps, values } of series) {
      const line = lines.get(name) ?? { label, steps: [], values: [] };
      line.steps.push(...steps);
      line.values.push(...values);
      lines.set(name, line);
    }
  }

  tooLong() {
    return [...this.charts.values()].some((chart) => [...chart.lines.values()].some((line) => line.steps.length > KEPT_POINTS));
  }
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.place = figure.querySelector(".chart-plot");
    this.legend = document.createElement("ul");
    this.legend.className = "chart-legend";
    this.details = document.createElement("details");
    this.details.innerHTML = "<summary>Values as a table</summary><div class='table-wrap' tabindex='0' role='group'></div>";
    this.details.lastChild.setAttribute("aria-label", `${figure.dataset.chart}: values`);
    this.details.addEventListener("toggle", () => this.fillTable());
    figure.append(this.legend, this.details);
    this.lines = [];
    this.zoomed = false;
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.place);
  }

  size() {
    return { width: Math.max(120, this.place.clientWidth), height: this.place.clientHeight };
  }

  /* lines: [{ label, steps, values, token, dash }] */
  show(lines, unit) {
    const same = this.plot && lines.length === this.lines.length;
    this.lines = lines;
    this.data = uPlot.join(lines.map((line) => [line.steps, line.values]));
    this.figure.querySelector("figcaption").innerHTML = "";
    this.figure.querySelector("figcaption").append(this.figure.dataset.chart, unit ? Object.assign(document.createElement("span"), { textContent: ` ${unit}` }) : "");
    if (same) this.plot.setData(this.data, !this.zoomed);
    else this.draw();
    this.describe();
    if (this.details.open) this.fillTable();
  }

  draw() {
    this.plot?.destroy();
    const ink = studio.colour("--ink-3");
    const grid = { stroke: studio.colour("--line"), width: 1 };
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: ink, font, grid, ticks: { ...grid, size: 4 } };
    this.zoomed = false;
    this.plot = new uPlot({
      ...this.size(),
      legend: { show: false },
      cursor: { sync: { key: "runs" }, points: { size: 6 } },
      scales: { x: { time: false } },
      axes: [
        { ...axis, size: 28, space: 60, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? format(tick) : "")) },
        { ...axis, size: 58, space: 32, values: (_, ticks) => ticks.map(format) },
      ],
      series: [{}, ...this.lines.map(({ label, token, dash, steps }) => ({
        label, stroke: studio.colour(token), width: 1.5, dash, spanGaps: true, points: { show: steps.length < 2, size: 5 },
      }))],
      hooks: {
        setSelect: [(plot) => { this.zoomed = plot.select.width > 0; }],
        setCursor: [(plot) => this.showLegend(plot.cursor.idx)],
      },
    }, this.data, this.place);
    this.plot.over.addEventListener("dblclick", () => { this.zoomed = false; });
    this.showLegend(null);
  }

  /* The values under the cursor, or the newest ones. */
  showLegend(at) {
    this.legend.replaceChildren(...this.lines.map((line, i) => {
      const column = this.data[i + 1];
      let index = at ?? column.length - 1;
      while (index > 0 && column[index] == null) index -= 1;
      const item = document.createElement("li");
      item.innerHTML = "<svg viewBox='0 0 20 8' aria-hidden='true'><line x1='0' x2='20' y1='4' y2='4' stroke-width='2.5'/></svg>";
      const stroke = item.firstChild.firstChild;
      stroke.setAttribute("stroke", studio.colour(line.token));
      if (line.dash.length) stroke.setAttribute("stroke-dasharray", line.dash.map((part) => part * 0.7).join(" "));
      item.append(`${line.label} ${format(column[index])}`);
      return item;
    }));
  }

  describe() {
    const told = this.lines.filter((line) => line.values.length).map(({ label, steps, values }) => {
      const last = values.length - 1;
      const lowest = values.reduce((low, value) => Math.min(low, value), Infinity);
      const highest = values.reduce((high, value) => Math.max(high, value), -Infinity);
      return `${label} from ${format(values[0])} at step ${steps[0]} to ${format(values[last])} at step ${steps[last]}, lowest ${format(lowest)}, highest ${format(highest)}`;
    });
    this.place.setAttribute("role", "img");
    this.place.setAttribute("aria-label", `${this.figure.dataset.chart}: ${told.join("; ")}.`);
  }

  /* At most TABLE_ROWS steps, evenly apart, the last among them. */
  fillTable() {
    if (!this.details.open || !this.data) return;
    const [steps, ...columns] = this.data;
    const count = Math.min(TABLE_ROWS, steps.length);
    const rows = Array.from({ length: count }, (_, i) => (count === 1 ? 0 : Math.round((i * (steps.length - 1)) / (count - 1))));
    const table = document.createElement("table");
    table.className = "table";
    const cell = (row, kind, text) => { const made = document.createElement(kind); made.textContent = text; made.className = "num"; row.append(made); return made; };
    const head = table.createTHead().insertRow();
    for (const text of ["Step", ...this.lines.map((line) => line.label)]) cell(head, "th", text).scope = "col";
    const body = table.createTBody();
    for (const i of rows) {
      const row = body.insertRow();
      cell(row, "th", format(steps[i])).scope = "row";
      for (const column of columns) cell(row, "td", format(column[i]));
    }
    this.details.lastChild.replaceChildren(table);
  }
}

class Board {
  constructor(root) {
    this.root = root;
    this.sources = root.dataset.sources.trim().split(/\s+/).map((url) => new Source(url));
    this.charts = new Map([...root.querySelectorAll("[data-chart]")].map((figure) => [figure.dataset.chart, new Chart(figure)]));
    this.poll(true);
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.paused) this.poll(); });
  }

  async poll(first = false) {
    this.paused = false;
    const asked = this.sources.filter((source) => source.live);
    const answers = await Promise.allSettled(asked.map((source) => source.read()));
    if (first || answers.some((answer) => answer.value)) this.show();
    if (!this.sources.some((source) => source.live)) return;
    setTimeout(() => { if (document.hidden) this.paused = true; else this.poll(); }, POLL_MS);
  }

  show() {
    const titles = new Set(this.sources.flatMap((source) => [...source.charts.keys()]));
    for (const title of titles) {
      const lines = [];
      let unit = "";
      this.sources.forEach((source, s) => {
        const chart = source.charts.get(title);
        if (!chart) return;
        unit = chart.unit;
        [...chart.lines.values()].forEach((line, i) => lines.push({ ...line, ...this.look(source, s, line, i, chart.lines.size) }));
      });
      this.chart(title).show(lines, unit);
    }
  }

  look(source, s, line, i, count) {
    if (this.sources.length === 1) return { token: `--chart-${(i % 8) + 1}`, dash: DASHES[i % DASHES.length] };
    const run = source.title.split(" ")[0];
    return { token: `--chart-${(s % 8) + 1}`, dash: DASHES[i % DASHES.length], label: count > 1 ? `${run} ${line.label.toLowerCase()}` : run };
  }

  chart(title) {
    if (!this.charts.has(title)) {
      this.root.querySelector(".charts-empty")?.remove();
      const figure = document.createElement("figure");
      figure.className = "chart";
      figure.dataset.chart = title;
      figure.append(document.createElement("figcaption"), Object.assign(document.createElement("div"), { className: "chart-plot" }));
      this.root.append(figure);
      this.charts.set(title, new Chart(figure));
    }
    return this.charts.get(title);
  }

  redraw() {
    for (const chart of this.charts.values()) if (chart.data) chart.draw();
  }
}

const boards = [...document.querySelectorAll("[data-charts]")].map((root) => new Board(root));
const redraw = () => { for (const board of boards) board.redraw(); };
document.addEventListener("studio:theme", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
