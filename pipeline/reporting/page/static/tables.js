// Elements and tables. Text is only ever set as text: what records and servers say is never read as HTML.

const number = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const count = (value) => (value === null || value === undefined ? "–" : number.format(value));
export const time = (seconds) => clock.format(new Date(seconds * 1000));

/** Makes an element with a class and children, which are elements or text. */
export function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Sets the text of an element only if it is another one: a screen reader says a change of a status again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Shows items as the rows of a table, and keeps the rows of those that were there before: focus, selection and what is
 * folded out stay.
 */
export function showRows(table, items, keyOf, make, update = () => {}) {
  const body = table.tBodies[0];
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const rows = items.map((item) => {
    const key = String(keyOf(item));
    let row = known.get(key);
    if (!row) {
      row = make(item);
      row.dataset.key = key;
    }
    known.delete(key);
    update(row, item);
    return row;
  });
  for (const row of known.values()) row.remove();
  rows.forEach((row, index) => {
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
}

/** Makes a row. The first cell is its header. */
export function row(first, ...cells) {
  const header = element("th", "", first);
  header.scope = "row";
  return element("tr", "", header, ...cells);
}

export const cell = (...children) => element("td", "", ...children);
export const numberCell = (text) => element("td", "number", text);

/** Makes a cell with a bar, which says in a picture what the cell beside it says in a number. */
export function barCell() {
  const made = element("td", "", element("span", "bar"));
  made.setAttribute("aria-hidden", "true");
  return made;
}

/** Sets the length of the bar in a row's last cell. */
export function setBar(row, part) {
  const bar = row.lastElementChild.firstElementChild;
  bar.style.width = `${Math.max(0, Math.min(1, part)) * 100}%`;
  bar.hidden = !part;
}
