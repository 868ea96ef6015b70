"use strict";
// The data come as scripts that call gl10m.scenes and gl10m.about: a page opened from a file may not fetch.
const gl10m = (() => {
  const PAGE = 50;
  const TILES = 100;
  const SVG = "http://www.w3.org/2000/svg";
  const numbers = new Intl.NumberFormat("en-US");
  const one = (id) => document.getElementById(id);

  let all = null;
  let found = new Uint32Array(0);
  let page = 0;
  let chosen = -1;
  let scene = null;
  let alone = -1;
  let playing = 0;

  function bytes(text) {
    const letters = atob(text);
    const read = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) read[i] = letters.charCodeAt(i);
    return read;
  }

  function made(name, words, className) {
    const element = document.createElement(name);
    if (words !== undefined) element.textContent = words;
    if (className) element.className = className;
    return element;
  }

  function drawn(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function option(list, value, words) {
    const element = made("option", words);
    element.value = value;
    list.append(element);
  }

  const day = (number) => (number === -32768 ? "" : new Date(number * 86400000).toISOString().slice(0, 10));

  // The list: all rows stay columns; only the rows of one page are elements.
  function scenes(data) {
    const count = data.ids.length;
    all = {
      ...data,
      count,
      state: new Uint16Array(bytes(data.state).buffer),
      split: bytes(data.split),
      labels: bytes(data.labels),
      days: new Int16Array(bytes(data.days).buffer),
    };
    all.width = count ? all.labels.length / count : 0;
    all.lower = all.ids.map((name) => name.toLowerCase());
    const ranked = data.classes.map((_, number) => number).filter((number) => data.counts[number] > 0);
    ranked.sort((a, b) => data.classes[a].localeCompare(data.classes[b]));
    for (const number of ranked) option(one("by-class"), number, `${data.classes[number]} (${numbers.format(data.counts[number])})`);
    data.states.forEach((name, place) => option(one("by-state"), place, name));
    data.splits.forEach((name, place) => option(one("by-split"), place, name));
    data.orders.forEach((name, place) => option(one("order"), place, name));
    for (const words of data.notes) one("notes").append(made("p", words, "notice"));
    filter();
    const named = decodeURIComponent(location.hash.slice(1));
    const start = named ? all.ids.indexOf(named) : -1;
    if (start >= 0) choose(start);
    else if (found.length) choose(found[0]);
    document.documentElement.dataset.ready = "list";
  }

  function filter() {
    const name = one("by-name").value.trim().toLowerCase();
    const [wanted, state, split] = ["by-class", "by-state", "by-split"].map((id) => Number(one(id).value));
    const first = one("from").value ? Date.parse(one("from").value) / 86400000 : -32768;
    const last = one("to").value ? Date.parse(one("to").value) / 86400000 : 32767;
    const kept = new Uint32Array(all.count);
    const byte = wanted >> 3, bit = 7 - (wanted & 7);
    let size = 0;
    for (let i = 0; i < all.count; i++) {
      if (state >= 0 && all.state[i] !== state) continue;
      if (split >= 0 && all.split[i] !== split) continue;
      if (wanted >= 0 && !((all.labels[i * all.width + byte] >> bit) & 1)) continue;
      if (all.days[i] < first || all.days[i] > last) continue;
      if (name && !all.lower[i].includes(name)) continue;
      kept[size++] = i;
    }
    found = kept.subarray(0, size);
    one("found").textContent = `${numbers.format(size)} of ${numbers.format(all.count)} scenes`;
    const place = found.indexOf(chosen);
    show(place >= 0 ? Math.floor(place / PAGE) : 0);
  }

  function show(number) {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(Math.max(number, 0), pages - 1);
    const rows = [];
    for (let place = page * PAGE; place < Math.min(found.length, (page + 1) * PAGE); place++) {
      const i = found[place];
      const row = made("li");
      row.setAttribute("role", "option");
      row.id = "scene-" + i;
      row.dataset.place = i;
      row.setAttribute("aria-selected", String(i === chosen));
      row.append(made("span", all.ids[i]), made("span", day(all.days[i])));
      rows.push(row);
    }
    one("list").replaceChildren(...rows);
    one("page-words").textContent = `page ${numbers.format(page + 1)} of ${numbers.format(pages)}`;
    one("page-back").disabled = page === 0;
    one("page-on").disabled = page >= pages - 1;
    mark();
  }

  function mark() {
    for (const row of one("list").children) row.setAttribute("aria-selected", String(Number(row.dataset.place) === chosen));
    const row = one("scene-" + chosen);
    if (row) {
      one("list").setAttribute("aria-activedescendant", row.id);
      const holder = one("list");
      const top = row.offsetTop - holder.offsetTop;
      if (top < holder.scrollTop) holder.scrollTop = top;
      else if (top + row.offsetHeight > holder.scrollTop + holder.clientHeight) holder.scrollTop = top + row.offsetHeight - holder.clientHeight;
    } else one("list").removeAttribute("aria-activedescendant");
  }

  function step(by) {
    if (!found.length) return;
    const place = found.indexOf(chosen);
    choose(found[Math.min(found.length - 1, Math.max(0, place < 0 ? 0 : place + by))]);
  }

  function choose(i) {
    chosen = i;
    const place = found.indexOf(i);
    if (place >= 0 && Math.floor(place / PAGE) !== page) show(Math.floor(place / PAGE));
    mark();
    history.replaceState(null, "", "#" + encodeURIComponent(all.ids[i]));
    const script = document.createElement("script");
    script.src = `scene-${i}/about.js`;
    script.addEventListener("load", () => script.remove());
    script.addEventListener("error", () => {
      script.remove();
      tell("This scene cannot be loaded: the server was stopped, or its files are damaged.");
    });
    document.head.append(script);
  }

  function tell(words) {
    one("trouble").textContent = words;
    one("trouble").hidden = !words;
  }

  // One scene.
  function about(data) {
    if (data.place !== chosen) return;
    scene = data;
    alone = -1;
    const row = data.row;
    tell(data.trouble || "");
    one("scene-name").textContent = row.scene_id;
    one("scene-words").textContent = [row.state, row.split, row.latitude === undefined ? "" : `${row.longitude.toFixed(4)}, ${row.latitude.toFixed(4)}`]
      .filter(Boolean).join(" · ");
    one("lr-words").textContent = `Sentinel-2, 10 m${row.sentinel2_date ? ", " + row.sentinel2_date : ""}${row.fallback ? " (fallback)" : ""}`;
    const gap = row.days_between === undefined ? "" : `, ${Math.abs(row.days_between)} days ${row.days_between < 0 ? "after" : "before"} Sentinel-2`;
    one("hr-words").textContent = `NAIP, 100 tiles at 1 m${row.naip_date ? ", " + row.naip_date : ""}${gap}`;
    for (const id of ["lr-image", "hr-under"]) {
      one(id).hidden = Boolean(data.trouble);
      if (!data.trouble) one(id).src = `scene-${data.place}/lr.jpg`;
    }
    one("tiles").replaceChildren(...Array.from({ length: TILES }, () => made("div", undefined, "tile")));
    one("class-note").textContent = data.note || "";
    describeClasses();
    describeFacts();
    buy();
    document.documentElement.dataset.scene = row.scene_id;
  }

  const order = () => {
    const places = scene.orders[Number(one("order").value)];
    return places === null || scene.trouble ? [] : places;
  };

  // Exactly the first k tiles of the order are there; no other tile is asked for.
  function buy() {
    if (!scene) return;
    const tiles = order();
    const slider = one("budget");
    const count = Math.min(Number(slider.value), tiles.length);
    const rank = new Map(tiles.slice(0, count).map((tile, place) => [tile, place + 1]));
    let spent = 0;
    [...one("tiles").children].forEach((holder, tile) => {
      const place = rank.get(tile);
      if (place === undefined) {
        holder.replaceChildren();
        delete holder.dataset.rank;
        return;
      }
      spent += scene.hr_bytes[tile];
      holder.dataset.rank = place;
      if (!holder.firstChild) {
        const image = made("img");
        image.alt = "";
        image.src = `scene-${scene.place}/${String(tile).padStart(2, "0")}.jpg`;
        holder.append(image);
      }
    });
    const whole = scene.hr_bytes ? scene.hr_bytes.reduce((sum, size) => sum + size, 0) : 0;
    const unknown = scene.orders[Number(one("order").value)] === null;
    const words = unknown ? "this order does not name the scene" : `${count} of ${TILES} tiles · OBR ${(count / TILES).toFixed(2)} · ${kilobytes(spent)} of ${kilobytes(whole)}`;
    one("budget-words").textContent = words;
    slider.setAttribute("aria-valuetext", `${count} of ${TILES} tiles`);
    one("tiles").setAttribute("aria-label", `NAIP tiles of the scene, ${count} of ${TILES} shown`);
  }

  const kilobytes = (size) => `${numbers.format(Math.round(size / 1000))} kB`;

  function describeClasses() {
    const classes = scene.classes || [];
    const buttons = classes.map((entry, place) => {
      const button = made("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      const swatch = drawn("svg", { viewBox: "0 0 26 14", "aria-hidden": "true" });
      swatch.append(drawn("path", { d: "M2 7H24", class: style(place) }));
      const share = entry.share === null ? "" : entry.share < 0.0005 ? " <0.1 %" : ` ${(100 * entry.share).toFixed(1)} %`;
      button.append(swatch, `${place + 1} ${entry.name}${share}`);
      button.title = `${entry.tiles.length} of ${TILES} tiles`;
      button.addEventListener("click", () => {
        alone = alone === place ? -1 : place;
        buttons.forEach((other, number) => other.setAttribute("aria-pressed", String(number === alone)));
        overlay();
      });
      return button;
    });
    one("classes").replaceChildren(...buttons);
    overlay();
  }

  const style = (place) => `hue-${place % 8} dash-${Math.floor(place / 8) % 4}`;

  const square = (tile) => `M${(tile % 10) * 100 + 4} ${Math.floor(tile / 10) * 100 + 4}h92v92h-92z`;

  function overlay() {
    const classes = one("show-outlines").checked && scene ? scene.classes || [] : [];
    for (const drawing of document.querySelectorAll(".overlay")) {
      const parts = [];
      const words = [];
      classes.forEach((entry, place) => {
        if (alone >= 0 && alone !== place) return;
        // Polygons where the journal has them; else the tiles, one class at a time: 10 of them would hide all.
        const shapes = entry.outlines.length ? entry.outlines : alone === place ? entry.tiles.map((tile) => [square(tile)]) : [];
        for (const [d, x, y] of shapes) {
          parts.push(drawn("path", { d, class: "casing" }));
          parts.push(drawn("path", { d, class: `${style(place)}${alone === place ? " alone" : ""}`, "fill-rule": "evenodd" }));
          if (x !== undefined) {
            const label = drawn("text", { x, y });
            label.textContent = place + 1;
            words.push(label);
          }
        }
      });
      drawing.replaceChildren(...parts, ...(words.length <= 60 ? words : []));
    }
  }

  function describeFacts() {
    const row = scene.row;
    const percent = (share) => (share === null || share === undefined ? undefined : `${(100 * share).toFixed(1)} %`);
    const facts = [
      ["Labelled ground", percent(row.labelled_share)],
      ["Reported cloud", row.cloud_cover === undefined || row.cloud_cover === null ? undefined : `${row.cloud_cover.toFixed(2)} %`],
      ["Cloud over the scene", percent(row.cloud_lr)],
      ["Black LR pixels", percent(row.black_lr)],
      ["NAIP resolution", row.naip_gsd ? `${row.naip_gsd.toFixed(1)} m` : undefined],
      ["Sentinel-2 items", (row.sentinel2_items || []).join(", ")],
      ["NAIP items", (row.naip_items || []).join(", ")],
      ["Nearest scene", row.nearest_scene ? `${row.nearest_scene}, shares ${percent(row.shared_ground)}` : undefined],
    ];
    const parts = [];
    for (const [name, value] of facts) {
      if (!value) continue;
      const part = made("div");
      part.append(made("dt", name), made("dd", value));
      parts.push(part);
    }
    one("facts").replaceChildren(...parts);
  }

  function play() {
    clearInterval(playing);
    const isPlaying = Boolean(playing);
    playing = 0;
    if (!isPlaying) {
      if (Number(one("budget").value) >= TILES) one("budget").value = 0;
      playing = setInterval(() => {
        one("budget").value = Number(one("budget").value) + 1;
        buy();
        if (Number(one("budget").value) >= TILES) play();
      }, 120);
    }
    one("play").textContent = playing ? "❚❚ Pause" : "▶ Play";
  }

  function listen() {
    one("filter-form").addEventListener("input", filter);
    one("filter-form").addEventListener("reset", () => setTimeout(filter));
    one("filter-form").addEventListener("submit", (event) => event.preventDefault());
    one("list").addEventListener("click", (event) => {
      const row = event.target.closest("li");
      if (row) choose(Number(row.dataset.place));
    });
    one("list").addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE, Home: -found.length, End: found.length }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      step(by);
    });
    one("page-back").addEventListener("click", () => show(page - 1));
    one("page-on").addEventListener("click", () => show(page + 1));
    one("scene-back").addEventListener("click", () => step(-1));
    one("scene-on").addEventListener("click", () => step(1));
    one("budget").addEventListener("input", buy);
    one("order").addEventListener("change", buy);
    one("play").addEventListener("click", play);
    one("show-outlines").addEventListener("change", overlay);
    one("show-grid").addEventListener("change", () => one("tiles").classList.toggle("grid", one("show-grid").checked));
    one("show-ranks").addEventListener("change", () => one("tiles").classList.toggle("ranks", one("show-ranks").checked));
    one("tiles").classList.toggle("grid", one("show-grid").checked);
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input[type=search], input[type=date], select")) return;
      const budget = one("budget");
      if (event.key === "n") step(1);
      else if (event.key === "p") step(-1);
      else if (event.key === "o") { one("show-outlines").checked = !one("show-outlines").checked; overlay(); }
      else if (event.key === "+" || event.key === "-") { budget.value = Number(budget.value) + (event.key === "+" ? 1 : -1); buy(); }
    });
    if (matchMedia("(max-width: 52rem)").matches) one("filters").open = false;
  }

  listen();
  return { scenes, about };
})();
