// A line chart over the last ten minutes, with its figures as a table for whoever does not see it.

import { element, setText, time } from "./tables.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 480, HEIGHT = 150, LEFT = 52, RIGHT = 8, TOP = 14, BOTTOM = 20;
const SPAN_S = 600, TABLE_ROWS = 10;

function svg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** The smallest of 1, 2, 5, 10, 20, … that is not below the value. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((bound) => bound >= value) ?? 10 * power;
}

export class LineChart {
  /**
   * @param {HTMLElement} place Where it goes.
   * @param {string} name What is drawn, for its label.
   * @param {{name: string, of: (point: object) => number|null}[]} series One or two lines.
   * @param {(value: number) => string} format A value as text.
   */
  constructor(place, name, series, format) {
    Object.assign(this, { name, series, format });
    this.drawing = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.head = element("tr");
    this.body = element("tbody");
    const columns = ["At", ...series.map((line) => line.name)];
    for (const column of columns) {
      const header = element("th", column === "At" ? "" : "number", column);
      header.scope = "col";
      this.head.append(header);
    }
    const caption = element("caption", "hint", `${name}, the last ten minutes`);
    const table = element("table", "", caption, element("thead", "", this.head), this.body);
    this.details = element("details", "", element("summary", "", "As a table"), table);
    this.details.addEventListener("toggle", () => this.last && this.draw(...this.last));
    place.append(this.drawing, ...(series.length > 1 ? [this.legend()] : []), this.details);
  }

  legend() {
    const items = this.series.map((line, index) => {
      const sign = svg("svg", { class: "chart", viewBox: "0 0 32 8", "aria-hidden": "true" });
      sign.append(svg("line", { class: index ? "series second" : "series", x1: 0, x2: 32, y1: 4, y2: 4 }));
      return element("li", "", sign, ` ${line.name}`);
    });
    return element("ul", "legend", ...items);
  }

  /** Draws the points; `changes` are moments with a label, each a vertical line. */
  draw(points, changes, now) {
    this.last = [points, changes, now];
    const start = Math.max(now - SPAN_S, points.length ? points[0].at : now - 60);
    const span = Math.max(now - start, 60);
    const values = this.series.map((line) => points.map((point) => line.of(point)));
    const top = roundUp(Math.max(0, ...values.flat().filter((value) => value !== null)));
    const x = (at) => LEFT + ((at - (now - span)) / span) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
    const parts = [0, 0.5, 1].flatMap((part) => [
      svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(part * top), y2: y(part * top) }),
      svg("text", { x: LEFT - 6, y: y(part * top) + 4, "text-anchor": "end" }, this.format(part * top)),
    ]);
    for (const [at, anchor] of [[now - span, "start"], [now - span / 2, "middle"], [now, "end"]])
      parts.push(svg("text", { x: x(at), y: HEIGHT - 5, "text-anchor": anchor }, time(at)));
    for (const change of changes.filter((one) => one.at > now - span)) {
      parts.push(svg("line", { class: "change", x1: x(change.at), x2: x(change.at), y1: TOP, y2: HEIGHT - BOTTOM }));
      parts.push(svg("text", { x: Math.min(x(change.at) + 3, WIDTH - 40), y: TOP - 3 }, change.label));
    }
    values.forEach((line, index) => {
      let path = "", pen = "M";
      line.forEach((value, at) => {
        if (value === null) pen = "M";
        else {
          path += `${pen}${x(points[at].at).toFixed(1)} ${y(value).toFixed(1)}`;
          pen = "L";
        }
      });
      if (path) parts.push(svg("path", { class: index ? "series second" : "series", d: path }));
    });
    if (!values.flat().some((value) => value !== null))
      parts.push(svg("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT / 2 - 8, "text-anchor": "middle" }, "nothing yet"));
    this.drawing.replaceChildren(...parts);
    this.drawing.setAttribute("aria-label", this.summary(values));
    if (this.details.open) this.fill(points, values);
  }

  /** One sentence that says what a look at the drawing does. */
  summary(values) {
    const told = this.series.map((line, index) => {
      const known = values[index].filter((value) => value !== null);
      if (!known.length) return `${line.name}: nothing yet`;
      const [low, high] = [Math.min(...known), Math.max(...known)].map(this.format);
      return `${line.name}: ${this.format(known.at(-1))} now, between ${low} and ${high}`;
    });
    return `${this.name} in the last ten minutes. ${told.join("; ")}.`;
  }

  fill(points, values) {
    const step = Math.max(1, Math.ceil(points.length / TABLE_ROWS));
    const chosen = points.map((_, index) => index).filter((index) => (points.length - 1 - index) % step === 0).reverse();
    while (this.body.rows.length > chosen.length) this.body.deleteRow(-1);
    chosen.forEach((index, at) => {
      const row = this.body.rows[at] ?? this.body.insertRow();
      const texts = [time(points[index].at), ...values.map((line) => (line[index] === null ? "–" : this.format(line[index])))];
      texts.forEach((text, column) => setText(row.cells[column] ?? row.appendChild(element("td", column ? "number" : "")), text));
    });
  }
}
