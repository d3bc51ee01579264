"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const cut = (value, low, high) => Math.min(high, Math.max(low, value));
const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

/* Light or dark: what the reader's system says, until the reader says otherwise. */

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $(".theme").setAttribute("aria-pressed", String(theme === "dark"));
}

function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let kept = null; // some browsers keep nothing for files
  try { kept = localStorage.getItem("theme"); } catch { /* then not */ }
  const follow = () => setTheme(kept ?? (dark.matches ? "dark" : "light"));
  follow();
  dark.addEventListener("change", follow);
  $(".theme").addEventListener("click", () => {
    kept = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    follow();
    try { localStorage.setItem("theme", kept); } catch { /* then not */ }
  });
}

/* Tables. Nothing is read or kept of a table before somebody uses it. */

const places = new WeakMap(); // row -> where it stood first
const texts = new WeakMap(); // row -> its words, cell by cell
const collator = new Intl.Collator("en", { numeric: true });
const nextOrder = { none: "ascending", ascending: "descending", descending: "none" };

const inPage = { text: (cell) => cell.textContent, value: (cell) => cell.dataset.v };
const rowsOf = (body) => $$(":scope > tr:not(.group, .details)", body);

function textOf(row) {
  if (!texts.has(row)) {
    texts.set(row, [...row.cells].map((cell) => cell.textContent).join("\n").toLowerCase());
  }
  return texts.get(row);
}

function comparison(column, kind, sign, read = inPage) {
  if (kind === "text") {
    const text = (row) => read.text(row.cells[column]);
    return (a, b) => sign * collator.compare(text(a), text(b));
  }
  const value = (row) => read.value(row.cells[column]);
  return (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    return x === y ? 0 : sign * (Number(x) < Number(y) ? -1 : 1);
  };
}

function sortTable(head) {
  const table = head.closest("table");
  const order = nextOrder[head.getAttribute("aria-sort") ?? "none"];
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  if (order !== "none") head.setAttribute("aria-sort", order);
  const by = [head.cellIndex, head.dataset.kind, order === "ascending" ? 1 : -1];
  if (many.has(table)) {
    sortMany(table, order === "none" ? null : comparison(...by, inData));
    return;
  }
  const compare = order === "none"
    ? (a, b) => places.get(a) - places.get(b)
    : comparison(...by);
  closeDetails(table);
  for (const body of table.tBodies) {
    const rows = rowsOf(body);
    if (rows.length && !places.has(rows[0])) rows.forEach((row, place) => places.set(row, place));
    body.append(...rows.sort(compare));
  }
}

function filterTable(input) {
  const box = input.closest(".table");
  const wanted = words(input.value);
  if (many.has($("table", box))) {
    filterMany($("table", box), wanted);
    return;
  }
  let shown = 0;
  let total = 0;
  closeDetails(box);
  for (const body of $("table", box).tBodies) {
    const before = shown;
    for (const row of rowsOf(body)) {
      row.hidden = !wanted.every((word) => textOf(row).includes(word));
      shown += !row.hidden;
      total += 1;
    }
    body.hidden = shown === before;
  }
  $("output", box).textContent = wanted.length ? `${shown} of ${total} rows` : `${total} rows`;
  $(".empty", box).hidden = shown > 0;
}

function closeDetails(root) {
  for (const row of $$(".details", root)) toggleDetails(row.previousElementSibling);
}

function toggleDetails(row) {
  const button = $(".more", row);
  const open = button.getAttribute("aria-expanded") === "true";
  if (open) row.nextElementSibling.remove();
  else row.after(detailsOf(row));
  button.setAttribute("aria-expanded", String(!open));
}

function detailsOf(row) {
  const list = document.createElement("dl");
  const heads = row.closest("table").tHead.rows[0].cells;
  for (const cell of row.cells) {
    if (!cell.title) continue;
    const name = document.createElement("dt");
    const [value, interval] = cell.innerText.split("\n");
    name.textContent = `${heads[cell.cellIndex].textContent}: ${value}`;
    if (interval) name.textContent += ` (${interval})`;
    // Cells that are next to each other often have one note; it is said once, after them.
    if (list.lastChild?.textContent === cell.title) list.lastChild.before(name);
    else {
      const about = document.createElement("dd");
      about.textContent = cell.title;
      list.append(name, about);
    }
  }
  const details = document.createElement("tr");
  details.className = "details";
  const cell = details.insertCell();
  cell.colSpan = heads.length;
  cell.append(list);
  return details;
}

function startTables() {
  document.addEventListener("click", ({ target }) => {
    const sort = target.closest(".sort");
    if (sort) sortTable(sort.closest("th"));
    const cell = target.closest(".more, tbody td[title]");
    if (cell && getSelection().isCollapsed) toggleDetails(cell.closest("tr"));
  });
  document.addEventListener("input", ({ target }) => {
    if (target.matches(".table input")) filterTable(target);
  });
}

/* Tables of many rows. They are data, of which a page becomes rows once somebody unfolds it. */

const ROWS = 100;
const many = new WeakMap(); // table -> what is known of its rows
const inData = {
  text: ([text, interval]) => (interval ? `${text} ${interval}` : text),
  value: ([, , , value]) => value || undefined,
};

function startManyRows() {
  for (const box of $$(".many")) {
    const table = $("table", box);
    const show = () => {
      if (!box.open || many.has(table)) return;
      const rows = readRows(JSON.parse($("script", box).textContent));
      many.set(table, { rows, found: rows, wanted: [], compare: null, page: 0 });
      showRows(table);
    };
    box.addEventListener("toggle", show);
    $(".pages", box).addEventListener("click", ({ target }) => {
      if (!target.dataset.by) return;
      many.get(table).page += Number(target.dataset.by);
      showRows(table);
      $(".scroll", box).scrollTop = 0;
    });
    show();
  }
}

function readRows({ cells, rows, groups }) {
  const found = [];
  groups.forEach(([name, count], group) => {
    for (let left = count; left > 0; left -= 1) {
      const place = found.length;
      found.push({ name, group, place, cells: rows.map((of, column) => cells[column][of[place]]) });
    }
  });
  return found;
}

function sortMany(table, compare) {
  many.get(table).compare = compare;
  orderMany(table);
}

function filterMany(table, wanted) {
  const { rows } = many.get(table);
  many.get(table).wanted = wanted;
  orderMany(table);
  const count = many.get(table).found.length;
  const box = table.closest(".table");
  $("output", box).textContent =
    wanted.length ? `${count} of ${rows.length} rows` : `${rows.length} rows`;
  $(".empty", box).hidden = count > 0;
}

function orderMany(table) {
  const state = many.get(table);
  state.page = 0;
  state.found = state.rows.filter((row) => {
    row.text ??= row.cells.map(inData.text).join("\n").toLowerCase();
    return state.wanted.every((word) => row.text.includes(word));
  });
  // As in other tables, rows stay in their group.
  if (state.compare) state.found.sort((a, b) => a.group - b.group || state.compare(a, b));
  showRows(table);
}

function showRows(table) {
  const { found, page } = many.get(table);
  const heads = [...table.tHead.rows[0].cells];
  let body = null;
  let group = null;
  for (const old of [...table.tBodies]) old.remove();
  for (const row of found.slice(page * ROWS, (page + 1) * ROWS)) {
    if (row.group !== group) {
      body = table.createTBody();
      if (row.name) body.append(groupRow(row.name, heads.length));
      group = row.group;
    }
    body.append(rowOf(row, heads));
  }
  sayPage($(".pages", table.closest(".table")), page, ROWS, found.length);
}

function groupRow(name, width) {
  const row = document.createElement("tr");
  const cell = document.createElement("th");
  const text = document.createElement("span");
  row.className = "group";
  cell.scope = "rowgroup";
  cell.colSpan = width;
  text.textContent = name;
  cell.append(text);
  row.append(cell);
  return row;
}

function rowOf({ cells }, heads) {
  const row = document.createElement("tr");
  const noted = cells.some(([, , note]) => note);
  cells.forEach(([text, interval, note, value, shade, bold], column) => {
    const cell = document.createElement(column ? "td" : "th");
    let inside = cell;
    if (!column) {
      cell.scope = "row";
      if (noted) {
        inside = document.createElement("button");
        inside.type = "button";
        inside.className = "more";
        inside.setAttribute("aria-expanded", "false");
        cell.append(inside);
      }
    }
    if (heads[column].dataset.kind !== "text") cell.className = shade ? `n ${shade}` : "n";
    if (value) cell.dataset.v = value;
    if (note) cell.title = note;
    fillCell(inside, text, interval, bold);
    row.append(cell);
  });
  return row;
}

function fillCell(inside, text, interval, bold) {
  const strong = document.createElement("strong");
  strong.textContent = text;
  inside.append(bold ? strong : text);
  if (!interval) return;
  const small = document.createElement("small");
  small.textContent = interval;
  inside.append(" ", small);
}

/* Say which part of a list is shown, and whether there is more before and after it. */

function sayPage(box, page, size, count) {
  const [back, on] = $$("button", box);
  back.disabled = page === 0;
  on.disabled = (page + 1) * size >= count;
  box.hidden = count <= size;
  $("span", box).textContent =
    `${page * size + 1} to ${Math.min(count, (page + 1) * size)} of ${count}`;
}

/* Episodes. The list is built a page at a time, and one episode is open. */

const PAGE = 20;
const explorer = { data: null, byId: null, found: [], page: 0, open: null, player: null };

function startEpisodes() {
  if (!$("#episode-data")) return;
  explorer.data = JSON.parse($("#episode-data").textContent);
  explorer.byId = new Map(explorer.data.episodes.map((episode) => [episode.id, episode]));
  const box = $(".explorer");
  $("input", $(".master")).addEventListener("input", filterEpisodes);
  box.addEventListener("click", clickInEpisodes);
  box.addEventListener("keydown", keyInEpisodes);
  addEventListener("hashchange", openFromAddress);
  filterEpisodes();
  openFromAddress();
}

function filterEpisodes() {
  const all = explorer.data.episodes;
  const wanted = words($("input", $(".master")).value);
  explorer.found = all.filter((episode) => {
    episode.text ??= [
      episode.key, episode.task, episode.instruction, episode.where, alone(episode),
      shortApart(episode),
    ].join("\n").toLowerCase();
    return wanted.every((word) => episode.text.includes(word));
  });
  explorer.page = 0;
  const count = explorer.found.length;
  $("output", $(".master")).textContent =
    wanted.length ? `${count} of ${all.length} episodes` : `${all.length} episodes`;
  $(".empty", $(".master")).hidden = count > 0;
  listEpisodes();
}

function listEpisodes() {
  const { found, page, open } = explorer;
  const shown = found.slice(page * PAGE, (page + 1) * PAGE);
  $("#episode-list").replaceChildren(...shown.map((episode) => linkTo(episode, episode === open)));
  sayPage($(".pages", $(".master")), page, PAGE, found.length);
}

function alone(episode) {
  const filmed = episode.sides.some((side) => side.video);
  return `only ${episode.alone}${filmed ? ", filmed" : ""}`;
}

function linkTo(episode, current) {
  const item = $("#episode-link").content.cloneNode(true);
  const link = $("a", item);
  link.href = `#${episode.id}`;
  if (current) link.setAttribute("aria-current", "true");
  $(".what", item).textContent = episode.instruction || episode.task;
  $(".key", item).textContent = episode.key;
  $(".alone", item).textContent = alone(episode);
  $(".apart", item).textContent = shortApart(episode);
  return item;
}

const shortApart = (episode) => episode.first === null ? "" : `apart after ${episode.first}`;

function openFromAddress() {
  const id = location.hash.slice(1);
  if (!id.startsWith("episode-")) return;
  const episode = explorer.byId.get(id);
  if (episode) openEpisode(episode);
  else sayGone();
}

function sayGone() {
  explorer.player?.pause();
  explorer.open = explorer.player = null;
  const page = $(".episode");
  const text = document.createElement("p");
  text.textContent = "This report has no such episode.";
  page.replaceChildren(text);
  page.hidden = false;
  page.scrollIntoView({ block: "nearest" });
}

function openEpisode(episode) {
  explorer.player?.pause();
  explorer.open = episode;
  const place = explorer.found.indexOf(episode);
  if (place >= 0) explorer.page = Math.floor(place / PAGE);
  listEpisodes();
  const page = $(".episode");
  page.classList.remove("player-on");
  page.replaceChildren($("#episode-page").content.cloneNode(true));
  $("h3", page).textContent = episode.instruction || episode.task;
  $(".where", page).textContent = `${episode.key} · ${episode.where}`;
  $(".apart", page).textContent = `Only ${episode.alone} succeeded. ${episode.apart}`;
  $(".place", page).textContent =
    place < 0 ? "not in the list" : `${place + 1} of ${explorer.found.length}`;
  $("[data-turn='-1']", page).disabled = place <= 0;
  $("[data-turn='1']", page).disabled = place + 1 >= explorer.found.length;
  const last = Math.max(1, ...episode.sides.map((side) => side.steps));
  $(".time", page).append(...episode.sides.map((side) => barOf(episode, side, last)));
  $(".legend", page).hidden = episode.first === null;
  $(".sides", page).append(...episode.sides.map(sideOf));
  explorer.player = startPlayer(page, episode, last);
  page.hidden = false;
  page.focus({ preventScroll: true });
  page.scrollIntoView({ block: "nearest" });
}

const outcomeOf = (side) => `${side.outcome === "success" ? "✓" : "✗"} ${side.outcome}`;

function barOf(episode, side, last) {
  const box = $("#episode-bar").content.cloneNode(true);
  const alike = Math.min(episode.parted ?? 0, side.steps);
  const between = Math.min(episode.first ?? alike, side.steps);
  const wide = (name, steps) => { $(name, box).style.width = `${(100 * steps) / last}%`; };
  $(".run", box).classList.add(side.outcome);
  $(".name", box).textContent = side.name;
  $(".end", box).textContent = `${outcomeOf(side)} after ${side.steps}`;
  wide(".alike", alike);
  if (episode.first === null) $(".between", box).remove();
  else wide(".between", between - alike);
  wide(".rest", side.steps - between);
  return box;
}

function sideOf(side) {
  const box = $("#episode-side").content.cloneNode(true);
  $("section", box).classList.add(side.outcome);
  $("h4", box).textContent = side.name;
  $(".outcome", box).textContent = `${outcomeOf(side)} after ${side.steps} steps`;
  $(".lost", box).textContent = side.lost;
  $(".lost", box).hidden = !side.lost;
  $("code", box).textContent = side.film;
  $(".film", box).hidden = Boolean(side.video) || !side.film;
  if (side.video) {
    const film = document.getElementById(side.video).cloneNode();
    film.removeAttribute("id");
    film.controls = false;
    film.muted = true;
    film.preload = "auto";
    film.setAttribute("aria-label", `${side.name}: ${side.outcome}`);
    film.addEventListener("error", () => film.replaceWith("This browser cannot play the film."));
    $(".outcome", box).after(film);
  }
  return box;
}

/* One control for both films: frame n of each is what is seen after n control steps. */

function startPlayer(page, episode, last) {
  const films = $$("video", page);
  const box = $(".player", page);
  if (!films.length) {
    box.remove();
    return null;
  }
  const slider = $("input", box);
  const rate = explorer.data.rate;
  let step = 0;
  let clock = 0; // of the next frame that is waited for; 0 while nothing plays
  slider.max = last;
  page.classList.add("player-on");
  $(".part", box).hidden = episode.first === null;

  const show = () => {
    slider.value = step;
    page.style.setProperty("--at", `${(100 * step) / last}%`);
    slider.setAttribute("aria-valuetext", `step ${step} of ${last}`);
    $("output", box).textContent = `step ${step} of ${last}, ${(step / rate).toFixed(2)} s`;
    $(".play", box).textContent = clock ? "Pause" : "Play";
  };
  const seek = (to) => {
    step = cut(to, 0, last);
    // The middle of a frame: its beginning, rounded, may be in the frame before.
    for (const film of films) film.currentTime = (step + 0.5) / rate;
    show();
  };
  const pause = () => {
    cancelAnimationFrame(clock);
    clock = 0;
    for (const film of films) film.pause();
    seek(step);
  };
  const follow = () => {
    step = cut(Math.floor(Math.max(...films.map((film) => film.currentTime)) * rate), 0, last);
    if (films.every((film) => film.ended || film.error)) pause();
    else {
      clock = requestAnimationFrame(follow);
      show();
    }
  };
  const play = () => {
    seek(step >= last ? 0 : step);
    clock = requestAnimationFrame(follow);
    for (const film of films) film.play().catch(() => { /* paused meanwhile, or it cannot */ });
    show();
  };
  const by = (steps) => {
    if (clock) pause();
    seek(step + steps);
  };
  slider.addEventListener("input", () => by(Number(slider.value) - step));
  seek(0);
  return { pause, by, toggle: () => (clock ? pause() : play()), part: () => by(episode.first - step) };
}

function turn(by) {
  const next = explorer.found[explorer.found.indexOf(explorer.open) + by];
  if (!explorer.open || !next) return;
  // Going through a list is no journey to go back on, step by step.
  history.replaceState(null, "", `#${next.id}`);
  openEpisode(next);
}

function clickInEpisodes({ target }) {
  const button = target.closest("button");
  if (!button) return;
  const { by, turn: turned, step } = button.dataset;
  if (by) {
    explorer.page += Number(by);
    listEpisodes();
  } else if (turned) turn(Number(turned));
  else if (step) explorer.player.by(Number(step));
  else if (button.matches(".play")) explorer.player.toggle();
  else if (button.matches(".part")) explorer.player.part();
  else if (button.matches(".copy")) copy($("code", button.closest(".film")), $("output", button.parentNode));
}

async function copy(code, said) {
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
    said.textContent = "Copied.";
  } catch {
    said.textContent = "Selected; copy it with Ctrl+C.";
  }
}

const keys = {
  j: () => turn(1),
  k: () => turn(-1),
  " ": () => explorer.player?.toggle(),
  ArrowLeft: () => explorer.player?.by(-1),
  ArrowRight: () => explorer.player?.by(1),
};

function keyInEpisodes(event) {
  const typing = event.target.matches("input[type=search]");
  const own = event.key === " " && event.target.matches("button"); // which a space presses
  if (typing || own || event.ctrlKey || event.altKey || event.metaKey || !keys[event.key]) return;
  if (!explorer.open) return;
  event.preventDefault();
  keys[event.key]();
}

startTheme();
startTables();
startManyRows();
startEpisodes();
