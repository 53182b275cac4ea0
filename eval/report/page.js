// The report reads without this script; it adds the theme switch, sorting, and values to point at.
"use strict";
(() => {
  const values = JSON.parse(document.getElementById("values").textContent);
  const $ = (id) => document.getElementById(id);
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const svg = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    return element;
  };

  // ---- theme: as the system has it, or as chosen ----
  const themes = ["system", "light", "dark"];
  const remember = (value) => {
    try {
      if (value !== undefined) localStorage.setItem("zvit-theme", value);
      return localStorage.getItem("zvit-theme");
    } catch (error) {
      return null; // a browser may not let a file store anything
    }
  };
  const themeButton = make("button", { type: "button" });
  let theme = themes.includes(remember()) ? remember() : "system";
  const showTheme = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    themeButton.textContent = "Theme: " + theme;
  };
  themeButton.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    remember(theme);
    showTheme();
  });
  showTheme();
  $("theme").append(themeButton);
  $("theme").hidden = false;

  // ---- tables: a button in each head ----
  const order = new Intl.Collator(undefined, { numeric: true });
  const cellValue = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent.trim();
    const number = parseFloat(text.replace(/,/g, ""));
    return cell.classList.contains("num") || cell.dataset.v !== undefined
      ? (Number.isNaN(number) ? -Infinity : number) : text;
  };
  const compare = (a, b) => (typeof a === "number" ? a - b || 0 : order.compare(a, b));
  const sortTable = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const numeric = heads[column].classList.contains("num") || column > 0;
    const before = heads[column].getAttribute("aria-sort");
    const direction = before === "none" ? (numeric ? "descending" : "ascending")
      : before === "ascending" ? "descending" : "ascending";
    heads.forEach((head) => head.setAttribute("aria-sort", "none"));
    heads[column].setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [cellValue(row, column), row]);
    rows.sort((a, b) => sign * compare(a[0], b[0]));
    table.tBodies[0].append(...rows.map((pair) => pair[1]));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button", textContent: head.textContent });
      button.addEventListener("click", () => sortTable(table, column));
      head.setAttribute("aria-sort", "none");
      head.replaceChildren(button);
    });
  }

  // ---- curves: a line follows the pointer or the arrow keys ----
  const format = (chart, value) =>
    (chart.scientific && value !== 0 ? value.toExponential(chart.decimals)
      : value.toFixed(chart.decimals)) + (chart.unit ? "\u202f" + chart.unit : "");
  const TOP = 8, PLOT = 190; // as in report_figures.c
  const addCursor = (chart) => {
    const figure = $("chart-" + chart.id);
    const area = figure.querySelector(".area");
    const readout = figure.querySelector(".readout");
    const still = [...readout.childNodes];
    const first = chart.x[0], last = chart.x[chart.x.length - 1];
    const place = (x) => (last > first ? (100 * (x - first)) / (last - first) : 50);
    const line = svg("line", { class: "cursor", y1: TOP, y2: TOP + PLOT });
    const marks = svg("g", {});
    marks.append(line);
    let at = chart.x.length - 1;
    const show = (index) => {
      at = Math.max(0, Math.min(chart.x.length - 1, index));
      const x = place(chart.x[at]) + "%";
      const words = ["epoch " + chart.x[at]];
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      marks.replaceChildren(line);
      readout.replaceChildren(words[0]);
      for (const series of chart.series) {
        const value = series.y[at];
        if (value === null) continue;
        const y = TOP + PLOT * (1 - (value - chart.low) / (chart.high - chart.low));
        marks.append(svg("circle", { class: "dot s" + series.style, cx: x, cy: y, r: 4 }));
        readout.append(" \u00b7 " + series.name + " ",
          make("b", { textContent: format(chart, value) }));
        words.push(series.name + " " + format(chart, value));
      }
      area.append(marks);
      area.setAttribute("aria-valuenow", chart.x[at]);
      area.setAttribute("aria-valuetext", words.join(", "));
    };
    const hide = () => {
      marks.remove();
      readout.replaceChildren(...still);
    };
    const nearest = (event) => {
      const box = area.getBoundingClientRect();
      const x = first + ((event.clientX - box.left) / box.width) * (last - first);
      let best = 0;
      chart.x.forEach((value, i) => {
        if (Math.abs(value - x) < Math.abs(chart.x[best] - x)) best = i;
      });
      return best;
    };
    const label = area.getAttribute("aria-label");
    for (const [key, value] of Object.entries({
      role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": first,
      "aria-valuemax": last, "aria-valuenow": last, "aria-valuetext": readout.textContent,
    })) area.setAttribute(key, value);
    area.addEventListener("pointermove", (event) => show(nearest(event)));
    area.addEventListener("pointerdown", (event) => show(nearest(event)));
    area.addEventListener("pointerleave", hide);
    area.addEventListener("focus", () => show(at));
    area.addEventListener("blur", hide);
    area.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10,
        PageDown: -10, Home: -Infinity, End: Infinity }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      show(step === Infinity ? chart.x.length - 1 : step === -Infinity ? 0 : at + step);
    });
  };
  values.charts.forEach(addCursor);

  // ---- confusion matrix ----
  const addMatrix = (data) => {
    const figure = document.querySelector(".matrix");
    const readout = $("matrix-readout");
    const size = data.names.length;
    const cell = +figure.dataset.cell, left = +figure.dataset.left, top = +figure.dataset.top;
    const counts = new Map();
    const rects = figure.querySelectorAll(".cells rect");
    const texts = figure.querySelectorAll(".counts text");
    const rows = figure.querySelectorAll(".rows text");
    const columns = figure.querySelectorAll(".columns text");
    for (let i = 0; i < data.cells.length; i += 3)
      counts.set(data.cells[i] * size + data.cells[i + 1], data.cells[i + 2]);
    let shown = data.names.map((_, i) => i); // class at each place
    const arrange = () => {
      const placeOf = new Array(size);
      shown.forEach((k, place) => { placeOf[k] = place; });
      rects.forEach((rect, i) => {
        const x = left + cell * placeOf[data.cells[3 * i + 1]];
        const y = top + cell * placeOf[data.cells[3 * i]];
        rect.setAttribute("x", x);
        rect.setAttribute("y", y);
        if (!texts[i]) return;
        texts[i].setAttribute("x", x + cell / 2);
        texts[i].setAttribute("y", y + cell / 2);
      });
      rows.forEach((text, k) => text.setAttribute("y", top + cell * (placeOf[k] + 0.5)));
      columns.forEach((text, k) => {
        const turn = text.getAttribute("transform").includes("rotate") ? " rotate(-90)" : "";
        text.setAttribute("transform",
          `translate(${left + cell * (placeOf[k] + 0.5)} ${top - 8})${turn}`);
      });
    };
    const errors = (k) => data.support[k] + data.predicted[k] - 2 * data.right[k];
    const recall = (k) => (data.support[k] > 0 ? data.right[k] / data.support[k] : 2);
    const orders = {
      "class order": (a, b) => a - b,
      name: (a, b) => order.compare(data.names[a], data.names[b]) || a - b,
      accuracy: (a, b) => recall(a) - recall(b) || a - b,
      "most confused": (a, b) => errors(b) - errors(a) || a - b,
    };
    const frame = svg("rect", { class: "frame", width: cell, height: cell });
    const across = svg("rect", { class: "beam", x: left, width: cell * size, height: cell });
    const down = svg("rect", { class: "beam", y: top, width: cell, height: cell * size });
    const cursor = svg("g", {});
    cursor.append(across, down, frame);
    let row = 0, column = 0;
    const help = "Point at a cell, or focus the matrix and use the arrow keys.";
    readout.textContent = help;
    const show = () => {
      const label = shown[row], prediction = shown[column];
      const count = counts.get(label * size + prediction) || 0;
      frame.setAttribute("x", left + cell * column);
      frame.setAttribute("y", top + cell * row);
      across.setAttribute("y", top + cell * row);
      down.setAttribute("x", left + cell * column);
      figure.append(cursor);
      const share = data.support[label] > 0
        ? ` (${((100 * count) / data.support[label]).toFixed(1)}\u202f%)` : "";
      readout.replaceChildren(make("b", { textContent: data.names[label] }),
        label === prediction ? " recognised: " : " taken for ",
        ...(label === prediction ? [] : [make("b", { textContent: data.names[prediction] }), ": "]),
        `${count} of ${data.support[label]}${share}`);
    };
    const clamp = (i) => Math.max(0, Math.min(size - 1, i));
    figure.addEventListener("pointermove", (event) => {
      const box = figure.getBoundingClientRect();
      const scale = figure.viewBox.baseVal.width / box.width;
      const c = Math.floor(((event.clientX - box.left) * scale - left) / cell);
      const r = Math.floor(((event.clientY - box.top) * scale - top) / cell);
      if (c !== clamp(c) || r !== clamp(r)) return;
      column = c;
      row = r;
      show();
    });
    figure.addEventListener("pointerleave", () => {
      if (document.activeElement === figure) return;
      cursor.remove();
      readout.textContent = help;
    });
    figure.setAttribute("tabindex", 0);
    figure.setAttribute("role", "application");
    figure.setAttribute("aria-describedby", "matrix-readout");
    figure.addEventListener("focus", show);
    figure.addEventListener("blur", () => cursor.remove());
    figure.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0],
        ArrowDown: [1, 0], Home: [0, -size], End: [0, size], PageUp: [-10, 0], PageDown: [10, 0] };
      if (!steps[event.key]) return;
      event.preventDefault();
      row = clamp(row + steps[event.key][0]);
      column = clamp(column + steps[event.key][1]);
      show();
    });
    const tools = $("matrix-tools");
    tools.append("Sort by");
    for (const name in orders) {
      const button = make("button", { type: "button", textContent: name });
      button.setAttribute("aria-pressed", name === "class order");
      button.addEventListener("click", () => {
        for (const other of tools.querySelectorAll("button"))
          other.setAttribute("aria-pressed", other === button);
        shown.sort(orders[name]);
        cursor.remove();
        readout.textContent = help;
        arrange();
      });
      tools.append(button);
    }
    tools.hidden = false;
  };
  if (values.matrix) addMatrix(values.matrix);

  // ---- settings: first what somebody chose ----
  const settings = $("settings-table");
  if (settings) {
    const all = settings.querySelectorAll("tbody tr:not(.group)").length;
    const chosen = all - settings.querySelectorAll(".default").length;
    const button = make("button", { type: "button" });
    const showAll = (everything) => {
      settings.classList.toggle("changed", !everything);
      for (const body of settings.tBodies)
        body.hidden = !everything && !body.querySelector("tr:not(.group):not(.default)");
      button.setAttribute("aria-pressed", everything);
    };
    button.textContent = `Show all ${all}`;
    button.addEventListener("click",
      () => showAll(button.getAttribute("aria-pressed") !== "true"));
    $("settings-tools").append(`${chosen} settings are not the defaults.`, button);
    $("settings-tools").hidden = false;
    showAll(chosen === 0);
  }
})();
