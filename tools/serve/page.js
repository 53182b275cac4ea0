/* The page of zvit serve: pictures go to v1/classify one by one; the heat map of the chosen class is
   asked for when it is looked at, and kept. */
"use strict";

const SHOWN = 5; // classes before "more"
const MOST = 50; // classes after it
const AT_ONCE = 2; // requests
const TRIES = 6; // while the server is busy
const TINY = 128; // pixels: below, each is drawn as a square
const COLOR_FOR = [0xe6, 0x61, 0x01];
const COLOR_AGAINST = [0x5e, 0x3c, 0x99];

const element = (id) => document.getElementById(id);
const page = {};
for (const id of ["model", "drop", "choose", "limits", "file", "figure", "frame", "picture", "heat",
                  "caption", "controls", "show", "strength", "class", "legend", "empty", "error",
                  "verdict", "bars", "note", "more", "strip", "status", "curl"]) {
  page[id] = element(id);
}

let model = null; // what v1/model says
let items = []; // pictures of this visit
let current = null; // the one that is shown
let waiting = []; // work that waits for one of AT_ONCE places
let running = 0;

const percent = (share) => {
  const value = 100 * share;
  return `${value >= 99.995 ? "100" : value.toFixed(value < 9.995 ? 2 : 1)} %`;
};
const duration = (milliseconds) => milliseconds < 1000
  ? `${milliseconds.toFixed(milliseconds < 99.95 ? 1 : 0)} ms`
  : `${(milliseconds / 1000).toFixed(1)} s`;
const count = (number) => number.toLocaleString("en-US");

/* ---- asking the server ---- */

async function failure(response) {
  try {
    const answer = await response.json();
    return answer.error || `the server answered ${response.status}`;
  } catch {
    return `the server answered ${response.status}`;
  }
}

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function post(file, query) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(`v1/classify?${new URLSearchParams(query)}`, {
        method: "POST",
        headers: {"Content-Type": file.type.startsWith("image/") ? file.type
                                                                 : "application/octet-stream"},
        body: file,
      });
    } catch {
      throw new Error("The server cannot be reached.");
    }
    if (response.ok) {
      return (await response.json()).results[0];
    }
    if (response.status !== 503 || attempt === TRIES) {
      throw new Error(await failure(response));
    }
    await sleep(1000 * (Number(response.headers.get("Retry-After")) || 1) * (0.5 + Math.random()));
  }
}

/* Runs work when one of the places is free. */
function whenFree(work) {
  waiting.push(work);
  next();
}

async function next() {
  if (running >= AT_ONCE || waiting.length === 0) {
    return;
  }
  running++;
  const work = waiting.shift();
  try {
    await work();
  } finally {
    running--;
    next();
  }
}

/* ---- pictures ---- */

function addFiles(files) {
  const added = [];
  for (const file of files) {
    const item = {file, name: file.name || "pasted picture", url: URL.createObjectURL(file),
                  result: null, error: null, heats: new Map(), chosen: null, all: false};
    items.push(item);
    added.push(item);
    if (model && file.size > model.limits.body_bytes) {
      item.error = `${item.name} has ${count(file.size)} bytes; the server takes up to ` +
                   `${count(model.limits.body_bytes)}.`;
    } else {
      whenFree(() => classify(item));
    }
    addToStrip(item);
  }
  if (added.length > 0) {
    select(added[0]);
  }
}

async function classify(item) {
  try {
    item.result = await post(item.file, {topk: MOST});
    const best = item.result.top[0];
    say(`${item.name}: ${best.class}, ${percent(best.probability)}`);
  } catch (error) {
    item.error = error.message;
  }
  labelInStrip(item);
  if (item === current) {
    render();
  }
}

/* The class that the heat map is of. */
const classOf = (item) => item.chosen ?? item.result.top[0].class;

function wantHeat(item) {
  const name = classOf(item);
  if (item.heats.has(name)) {
    return;
  }
  item.heats.set(name, null); // asked for
  whenFree(async () => {
    try {
      const result = await post(item.file, {topk: 1, explain: 1, class: name});
      item.heats.set(name, result.heat);
    } catch (error) {
      item.heats.set(name, {error: error.message});
    }
    if (item === current) {
      renderHeat();
    }
  });
}

function select(item) {
  current = item;
  for (const other of items) {
    other.button.setAttribute("aria-current", other === item ? "true" : "false");
  }
  page.picture.src = item.url;
  page.picture.alt = item.name;
  render();
}

/* ---- showing ---- */

function say(text) {
  page.status.textContent = text;
}

function render() {
  const item = current;
  page.drop.classList.add("small");
  page.figure.hidden = false;
  page.empty.hidden = true;
  page.error.hidden = item.error === null;
  page.error.textContent = item.error ?? "";
  const known = item.result !== null;
  page.controls.hidden = !known;
  page.verdict.hidden = !known && item.error !== null;
  page.bars.classList.toggle("busy", !known && item.error === null);
  page.note.hidden = !known;
  page.caption.textContent = caption(item);
  if (known) {
    renderResult(item);
  } else {
    page.verdict.textContent = "Looking at it";
    page.bars.replaceChildren();
    page.more.hidden = true;
  }
  renderHeat();
}

function caption(item) {
  const size = item === current && page.picture.complete && page.picture.naturalWidth > 0
    ? `, ${page.picture.naturalWidth} × ${page.picture.naturalHeight} pixels` : "";
  return item.name + size;
}

function renderResult(item) {
  const top = item.result.top;
  const small = document.createElement("small");
  page.verdict.textContent = item.result.prediction;
  small.textContent = `${percent(top[0].probability)} probable`;
  page.verdict.append(small);
  const shown = item.all ? top.length : Math.min(SHOWN, top.length);
  page.bars.replaceChildren(...top.slice(0, shown).map((entry) => bar(item, entry)));
  page.more.hidden = top.length <= SHOWN;
  page.more.textContent = item.all ? "Fewer classes" : `${top.length - SHOWN} more classes`;
  page.note.textContent = `Computed in ${duration(item.result.milliseconds)}. ` +
                          "A class chosen here is what the heat map is of.";
  if (page.class.value !== classOf(item)) {
    page.class.value = classOf(item);
  }
}

function bar(item, entry) {
  const row = document.createElement("li");
  const button = document.createElement("button");
  const part = (kind, text) => {
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = text;
    return span;
  };
  button.type = "button";
  button.setAttribute("aria-pressed", entry.class === classOf(item) ? "true" : "false");
  button.append(part("name", entry.class), part("percent", percent(entry.probability)),
                part("bar", ""));
  button.lastChild.setAttribute("aria-hidden", "true");
  button.lastChild.style.setProperty("--share", entry.probability);
  button.addEventListener("click", () => chooseClass(entry.class));
  row.append(button);
  return row;
}

function chooseClass(name) {
  current.chosen = name;
  page.show.checked = true;
  page.class.value = name;
  const names = current.result.top.map((entry) => entry.class);
  [...page.bars.querySelectorAll("button")].forEach((button, i) => {
    button.setAttribute("aria-pressed", names[i] === name ? "true" : "false");
  });
  renderHeat();
}

function renderHeat() {
  const item = current;
  const on = page.show.checked && item.result !== null;
  if (on) {
    wantHeat(item);
  }
  const heat = on ? item.heats.get(classOf(item)) : null;
  const drawn = Boolean(heat && heat.values);
  page.frame.classList.toggle("explained", drawn);
  page.legend.hidden = !drawn;
  page.strength.disabled = !on;
  page.class.disabled = !on;
  page.heat.hidden = !drawn;
  if (drawn) {
    drawHeat(heat);
    say(`Heat map of ${heat.class}`);
  }
  if (heat && heat.error) {
    page.error.hidden = false;
    page.error.textContent = `No heat map: ${heat.error}`;
  }
}

/* One pixel a patch, then enlarged to where the model looked; outside of it is dark. */
function drawHeat(heat) {
  const [rows, columns] = heat.grid;
  const scale = Math.max(...heat.values.map(Math.abs)) || 1;
  const cells = document.createElement("canvas");
  cells.width = columns;
  cells.height = rows;
  const pixels = new ImageData(columns, rows);
  heat.values.forEach((value, i) => {
    const color = value < 0 ? COLOR_AGAINST : COLOR_FOR;
    pixels.data.set([...color, Math.round(255 * Math.abs(value) / scale)], 4 * i);
  });
  cells.getContext("2d").putImageData(pixels, 0, 0);

  const canvas = page.heat;
  const longest = 900;
  const factor = longest / Math.max(heat.width, heat.height);
  canvas.width = Math.max(1, Math.round(heat.width * factor));
  canvas.height = Math.max(1, Math.round(heat.height * factor));
  const [x0, y0, x1, y1] = heat.box.map((value) => value * factor);
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(0 0 0 / 60%)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.clearRect(x0, y0, x1 - x0, y1 - y0);
  context.imageSmoothingEnabled = false;
  context.drawImage(cells, x0, y0, x1 - x0, y1 - y0);
}

/* ---- the strip ---- */

function addToStrip(item) {
  const button = document.createElement("button");
  const image = document.createElement("img");
  const label = document.createElement("span");
  button.type = "button";
  image.alt = item.name;
  image.src = item.url;
  image.addEventListener("load", () => {
    image.classList.toggle("tiny", image.naturalWidth < TINY);
  });
  button.append(image, label);
  button.addEventListener("click", () => select(item));
  item.button = button;
  page.strip.append(button);
  page.strip.hidden = items.length < 2;
  labelInStrip(item);
}

function labelInStrip(item) {
  const label = item.button.lastChild;
  label.textContent = item.error ? "not read" : item.result ? item.result.top[0].class : "…";
  label.className = item.error ? "failed" : "";
}

/* ---- what happens ---- */

page.picture.addEventListener("load", () => {
  page.frame.style.setProperty("--w", page.picture.naturalWidth);
  page.frame.style.setProperty("--h", page.picture.naturalHeight);
  page.frame.classList.toggle("tiny", page.picture.naturalWidth < TINY);
  page.frame.hidden = false;
  page.caption.textContent = caption(current);
});
page.picture.addEventListener("error", () => {
  page.frame.hidden = true; // the browser cannot show it either
});

page.choose.addEventListener("click", () => page.file.click());
page.file.addEventListener("change", () => {
  addFiles([...page.file.files]);
  page.file.value = "";
});
page.show.addEventListener("change", renderHeat);
page.strength.addEventListener("input", () => {
  page.frame.style.setProperty("--strength", page.strength.value / 100);
});
page.class.addEventListener("change", () => chooseClass(page.class.value));
page.more.addEventListener("click", () => {
  current.all = !current.all;
  renderResult(current);
});

let depth = 0; // dragenter comes for every element on the way
document.addEventListener("dragenter", (event) => {
  event.preventDefault();
  depth++;
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", () => {
  depth--;
  document.body.classList.toggle("dragging", depth > 0);
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("dragging");
  addFiles([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  addFiles([...event.clipboardData.files]);
});

async function begin() {
  const base = new URL(".", document.baseURI).href;
  page.curl.textContent = `curl -F picture=@cat.jpg '${base}v1/classify?topk=3'\n` +
    `curl -H 'Content-Type: image/jpeg' --data-binary @cat.jpg '${base}v1/classify?explain=1'`;
  const response = await fetch("v1/model");
  if (!response.ok) {
    throw new Error(await failure(response));
  }
  model = await response.json();
  page.model.textContent = `${model.model}, ${count(model.classes.length)} classes, ` +
                           `${count(model.parameters)} parameters`;
  document.title = `${model.model} · zvit`;
  page.limits.textContent = "JPEG or PNG, up to " +
                            `${Math.floor(model.limits.body_bytes / 2 ** 20)} MiB`;
  for (const name of model.classes) {
    page.class.add(new Option(name, name));
  }
}

begin().catch((error) => {
  page.error.hidden = false;
  page.error.textContent = `The model cannot be asked: ${error.message}`;
});
