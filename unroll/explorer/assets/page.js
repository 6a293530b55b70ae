// The page: shows pictures made beforehand, and what stands behind each of their nodes. Names are set as text only.
"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const stepMs = 1100;

  async function unpack(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(plain).json();
  }

  if (!("DecompressionStream" in window)) {
    $("told").textContent = "This browser is too old for this page: it cannot unpack data (DecompressionStream).";
    return;
  }
  const data = await unpack($("data").content.textContent);
  const text = (number) => data.strings[number];

  // What is shown: the forms of the controls hold the rest.
  const state = { count: 0, name: "", key: "", position: -1, timer: 0 };
  state.count = data.run ?? Math.min(2, data.counts.length - 1);

  // -- the present choice ---------------------------------------------------------------------------------------------

  const mode = () => [$("forced").checked && "forced", $("backward").checked && "backward"].filter(Boolean).join(" ");
  const folded = () => data.modes[mode()];
  const unfolded = () => folded().unfolded[state.count];
  const playing = () => state.position >= 0;
  const current = () => unfolded().nodes[unfolded().order[state.position - 1]];

  // -- pictures -------------------------------------------------------------------------------------------------------

  function draw(figure, picture, source) {
    const holder = $(figure).querySelector(".picture");
    if (holder.shown === source) return;
    const focused = holder.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const parsed = new DOMParser().parseFromString(text(source), "image/svg+xml").documentElement;
    const svg = document.importNode(parsed, true);
    svg.setAttribute("role", "group");
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    svg.classList.toggle("bare", source === picture.svg);
    holder.size = [width, height];
    holder.replaceChildren(svg);
    holder.shown = source;
    holder.nodes = picture.nodes;
    picture.nodes.forEach((node, number) => {
      const group = svg.getElementById(node.id);
      Object.assign(group.dataset, { key: node.key, number });
      group.setAttribute("role", "button");
      group.setAttribute("aria-label", spoken(node));
      group.tabIndex = number ? -1 : 0;
    });
    if (focused !== null) focus(holder, groups(holder).find((g) => g.dataset.key === focused) ?? groups(holder)[0]);
  }

  // Pictures fill the space they have, but are never drawn so small that they cannot be read: they scroll instead.
  function fit() {
    const holders = ["folded", "unfolded"].map((figure) => $(figure).querySelector(".picture"));
    const share = holders[0].size[0] / holders[1].size[0];
    $("pictures").style.setProperty("--folded", `${Math.max(0.3, Math.min(0.8, share))}fr`);
    for (const holder of holders) {
      const [width, height] = holder.size.map((points) => (points * 4) / 3);
      const style = getComputedStyle(holder);
      const high = parseFloat(style.maxHeight) || Infinity;
      const room = [holder.clientWidth - 2 * parseFloat(style.paddingLeft), high - 2 * parseFloat(style.paddingTop)];
      const scale = Math.max(0.5, Math.min(1.5, room[0] / width, room[1] / height));
      Object.assign(holder.firstChild.style, { width: `${width * scale}px`, height: `${height * scale}px` });
    }
  }

  function reveal(figure) {
    const holder = $(figure).querySelector(".picture");
    const lit = holder.querySelector(".lit")?.getBoundingClientRect();
    if (!lit) return;
    const view = holder.getBoundingClientRect();
    if (lit.left < view.left || lit.right > view.right) holder.scrollLeft += lit.x - view.x - view.width / 2;
    if (lit.top < view.top || lit.bottom > view.bottom) holder.scrollTop += lit.y - view.y - view.height / 2;
  }

  const groups = (holder) => [...holder.querySelectorAll("[data-number]")];
  const spoken = (node) => `${node.label}: ${node.told.map((row) => text(row[0])).join("; ")}`;

  function focus(holder, group) {
    if (!group) return;
    for (const other of groups(holder)) other.tabIndex = -1;
    group.tabIndex = 0;
    group.focus();
  }

  function neighbour(holder, group, key) {
    const middle = (g) => {
      const box = g.getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    };
    const [x, y] = middle(group);
    const along = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    let best = null;
    for (const other of groups(holder)) {
      const [dx, dy] = [middle(other)[0] - x, middle(other)[1] - y];
      const ahead = dx * along[0] + dy * along[1];
      const aside = Math.abs(dx * along[1]) + Math.abs(dy * along[0]);
      const cost = ahead + 2.5 * aside;
      if (ahead > 4 && (!best || cost < best.cost)) best = { cost, group: other };
    }
    return best?.group;
  }

  // -- light ----------------------------------------------------------------------------------------------------------

  function mark(figure, picture, classesOf) {
    const svg = $(figure).querySelector("svg");
    for (const lit of svg.querySelectorAll(".lit, .kin, .into, .dim, .source")) {
      lit.classList.remove("lit", "kin", "into", "dim", "source");
    }
    picture.nodes.forEach((node, number) => {
      const group = svg.getElementById(node.id);
      const classes = classesOf(node, number);
      group.classList.add(...classes);
      group.setAttribute("aria-pressed", String(classes.includes("lit")));
      if (classes.includes("lit")) for (const edge of node.edges) svg.getElementById(edge)?.classList.add("into");
    });
  }

  function light() {
    const shown = unfolded();
    const now = playing() ? current() : null;
    const name = now ? now.name : state.name;
    const key = now ? now.key : state.key;
    const done = new Set();
    if (playing()) {
      for (const number of shown.order.slice(0, state.position)) {
        done.add(number);
        for (const source of shown.nodes[number].reads) done.add(source);
      }
    }
    const sources = new Set(now?.reads ?? []);
    mark("folded", folded(), (node) => (name && node.name === name ? ["lit"] : []));
    mark("unfolded", shown, (node, number) => {
      const classes = [];
      if (playing() && !done.has(number)) classes.push("dim");
      if (sources.has(number)) classes.push("source");
      if (name && node.name === name) classes.push(node.key === key || !key ? "lit" : "kin");
      return classes;
    });
    if (playing()) {
      const edges = (numbers) => numbers.flatMap((number) => shown.nodes[number].edges);
      const lit = new Set(edges(shown.order.slice(0, state.position)));
      for (const edge of edges(shown.order)) if (!lit.has(edge)) $(edge)?.classList.add("dim");
    }
    tell(now, name, key);
  }

  // -- words ----------------------------------------------------------------------------------------------------------

  function element(tag, className, content) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(content);
    return made;
  }

  function tell(now, name, key) {
    const folding = folded().nodes.find((node) => node.name === name);
    const node = now ?? unfolded().nodes.find((other) => key && other.key === key) ?? folding;
    const lines = [];
    if (playing() && !now) lines.push(element("p", "hint", "Nothing is computed yet: press next."));
    if (node) {
      lines.push(element("h2", "", node.label));
      for (const row of node.told) {
        const [equation, domain, place, code] = row.map(text);
        const line = element("p", "equation", equation);
        if (domain) line.append(element("span", "domain", domain));
        lines.push(line);
        if (place) {
          const source = element("p", "source", element("span", "place", place));
          if (code) source.append(" ", element("code", "", code));
          if (lines.at(-2)?.textContent !== source.textContent) lines.push(source);
        }
      }
      if (node !== folding && folding && !now) {
        const all = folding.told.map((row) => text(row[0]) + (text(row[1]) && `,  ${text(row[1])}`)).join("\n");
        lines.push(element("p", "general", all));
      }
    }
    if (!lines.length) lines.push(element("p", "hint", "Choose a node to see its equation and where it is written."));
    $("told").replaceChildren(...lines);
  }

  // -- everything -----------------------------------------------------------------------------------------------------

  function show() {
    const n = data.counts[state.count];
    const overlay = state.count === data.run ? folded().overlays[$("overlay").value] : undefined;
    draw("folded", folded(), folded().svg);
    draw("unfolded", unfolded(), overlay ?? unfolded().svg);
    fit();
    const lengths = [data.axis && `${data.axis} = ${n}`, data.others].filter(Boolean).join(", ");
    $("count").textContent = lengths;
    $("steps").value = state.count;
    $("steps").setAttribute("aria-valuetext", lengths);
    const count = unfolded().order.length;
    state.position = Math.min(state.position, count);
    $("progress").max = count || 1;
    $("progress").value = Math.max(0, state.position);
    $("position").textContent = playing() ? `${state.position} of ${count}` : `${count} steps`;
    $("play").textContent = state.timer ? "pause" : "play";
    $("play").setAttribute("aria-label", state.timer ? "Pause" : "Play the passes");
    $("previous").disabled = $("first").disabled = state.position <= 0;
    $("next").disabled = state.position === count;
    $("all").disabled = !playing();
    light();
  }

  function choose(name, key) {
    const same = state.name === name && state.key === key;
    pause();
    Object.assign(state, { name: same ? "" : name, key: same ? "" : key, position: -1 });
    show();
  }

  function pause() {
    clearInterval(state.timer);
    state.timer = 0;
  }

  function step(by) {
    state.position = Math.max(0, Math.min(unfolded().order.length, Math.max(0, state.position) + by));
    if (state.position === unfolded().order.length) pause();
    show();
    reveal("folded");
    reveal("unfolded");
  }

  function play() {
    if (state.timer) pause();
    else {
      if (state.position === unfolded().order.length) state.position = 0;
      state.timer = setInterval(() => step(1), stepMs);
      step(1);
    }
    show();
  }

  function release() {
    pause();
    Object.assign(state, { name: "", key: "", position: -1 });
    show();
  }

  // -- controls -------------------------------------------------------------------------------------------------------

  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("steps").max = data.counts.length - 1;
  $("steps").addEventListener("input", () => {
    state.count = Number($("steps").value);
    if (state.key && !unfolded().nodes.some((node) => node.key === state.key)) state.key = "";
    show();
  });
  for (const name of ["forced", "backward"]) {
    $(name).addEventListener("change", () => {
      const known = [...folded().nodes, ...unfolded().nodes];
      if (!known.some((node) => node.name === state.name)) state.name = state.key = "";
      show();
    });
    $(`${name}-label`).hidden = !(name in data.modes);
  }
  $("forced-text").textContent = `forced: ${data.forced}`;
  for (const kind of Object.keys(data.modes[""].overlays)) $("overlay").append(new Option(kind, kind));
  $("overlay-label").hidden = $("overlay").options.length === 1;
  $("overlay").addEventListener("change", () => {
    if ($("overlay").value) state.count = data.run;
    show();
  });
  $("length").hidden = !data.axis && !data.others;
  $("steps").hidden = data.counts.length === 1;
  $("first").addEventListener("click", () => (pause(), step(-Infinity)));
  $("previous").addEventListener("click", () => (pause(), step(-1)));
  $("next").addEventListener("click", () => (pause(), step(1)));
  $("play").addEventListener("click", play);
  $("all").addEventListener("click", release);

  for (const figure of ["folded", "unfolded"]) {
    const holder = $(figure).querySelector(".picture");
    const chosen = (group) => {
      const node = holder.nodes[group.dataset.number];
      choose(node.name, figure === "unfolded" ? node.key : "");
    };
    holder.addEventListener("click", (event) => {
      const group = event.target.closest("[data-number]");
      if (!group) return;
      chosen(group);
      focus(holder, group);
    });
    holder.addEventListener("keydown", (event) => {
      const group = event.target.closest("[data-number]");
      if (!group || event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key.startsWith("Arrow")) focus(holder, neighbour(holder, group, event.key));
      else if (event.key === "Enter" || event.key === " ") chosen(group);
      else return;
      event.preventDefault();
    });
  }
  window.addEventListener("resize", fit);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const act = { Escape: release, ",": () => (pause(), step(-1)), ".": () => (pause(), step(1)), p: play }[event.key];
    if (!act || (event.key !== "Escape" && event.target.matches("select"))) return;
    event.preventDefault();
    act();
  });

  show();
})();
