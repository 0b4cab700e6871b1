// What the page does that HTML cannot: images by drop and paste, keys, the theme, generation.
const find = (selector, from = document) => from.querySelector(selector);
const search = find("#search");

// ------------------------------------------------------------ theme

find("#theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme ?? (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

// ------------------------------------------------------------ search

const narrow = matchMedia("(max-width: 760px)");
const folded = matchMedia("(max-width: 1150px)");

// On a phone the products come first: filters and generation wait behind their titles.
function fold() {
  const facets = find(".facets details"), generate = find(".generate details");
  if (facets && narrow.matches && !facets.dataset.seen) facets.open = false;
  if (generate && folded.matches && !generate.dataset.seen) generate.open = false;
}
fold();

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) search.requestSubmit();
});

document.addEventListener("htmx:after:swap", () => {
  const main = find("#main"), box = find("#q");
  if (box && main?.dataset.q !== undefined && document.activeElement !== box) {
    box.value = main.dataset.q;
  }
  fold();
});

// A picture of a browser is a part of the query as any other: the page's address names it.
async function searchImage(file) {
  const state = find("#state"), form = new FormData();
  form.append("image", file);
  const answer = await fetch("/queries", { method: "POST", body: form });
  const body = await answer.json().catch(() => ({ detail: "The image was not taken." }));
  if (!answer.ok) return showProblem(body.detail);
  if (state) state.textContent = "";
  location.assign(`/?image=${encodeURIComponent(body.image)}`);
}

function showProblem(sentence) {
  let place = find(".results [role=status]");
  if (!place) return alert(sentence);
  const line = document.createElement("p");
  line.className = "problem";
  line.textContent = sentence;
  place.replaceChildren(line);
}

find("#file")?.addEventListener("change", (event) => {
  if (event.target.files[0]) searchImage(event.target.files[0]);
});

document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((f) => f.type.startsWith("image/"));
  if (file) {
    event.preventDefault();
    searchImage(file);
  }
});

const drop = find("#drop");
const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  drop.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.hidden = true;
});
document.addEventListener("drop", (event) => {
  drop.hidden = true;
  if (!hasFiles(event)) return;
  event.preventDefault();
  if (event.dataTransfer.files[0]) searchImage(event.dataTransfer.files[0]);
});

// ------------------------------------------------------------ keys

// "/" goes to the search box, arrows go through the products.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    find("#search input[type=search]").focus();
    return;
  }
  const cards = [...document.querySelectorAll(".results .picture, .item .picture")];
  const here = cards.indexOf(event.target);
  if (here < 0) return;
  const columns = getComputedStyle(find(".results .grid, .item .grid"))
    .gridTemplateColumns.split(" ").length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const next = cards[here + steps[event.key]];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});

// ------------------------------------------------------------ generation

const generation = find("#generate");
if (generation) {
  const state = find("#state"), progress = find("#progress"), cancel = find("#cancel");
  let job = null;

  function show(answer) {
    progress.hidden = !["waiting", "running"].includes(answer.state);
    progress.max = answer.steps || 1;
    progress.value = answer.done;
    cancel.hidden = progress.hidden;
    const sentences = {
      waiting: "Waiting for its turn.",
      running: answer.steps ? `Step ${answer.done} of ${answer.steps}.` : "Loading the model.",
      done: `${answer.images.length} images in ${answer.seconds.toFixed(1)} s.`,
      cancelled: "Cancelled.",
      failed: answer.error,
    };
    state.textContent = sentences[answer.state];
    const list = find("#generated");
    for (const [n, one] of answer.images.entries()) {
      if (n < list.children.length) continue;
      const entry = document.createElement("li"), image = document.createElement("img");
      entry.className = "card";
      image.src = one.image;
      image.alt = `Generated: ${one.record.prompt}, seed ${one.record.seed}`;
      const picture = document.createElement("a");
      picture.className = "picture";
      picture.href = one.image;
      picture.append(image);
      const tools = document.createElement("p"), link = document.createElement("a");
      link.href = `/?image=${answer.id}-${n}`;
      link.textContent = "Search with it";
      link.setAttribute("aria-label", `Search with generated image ${n + 1}`);
      tools.append(link);
      entry.append(picture, tools);
      list.append(entry);
    }
  }

  generation.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(generation));
    const body = { ...values, count: Number(values.count), seed: Number(values.seed) };
    const answer = await fetch("/v1/generate", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const first = await answer.json().catch(() => ({ detail: "The service did not answer." }));
    if (!answer.ok) {
      state.textContent = first.detail;
      return;
    }
    job = first;
    find("#generated").replaceChildren();
    show(first);
    const stream = new EventSource(`/v1/generate/${first.id}/events`);
    for (const name of ["waiting", "running", "done", "cancelled", "failed"]) {
      stream.addEventListener(name, (message) => {
        const now = JSON.parse(message.data);
        if (now.id === job.id) show(now);
        if (!["waiting", "running"].includes(now.state)) stream.close();
      });
    }
  });

  cancel.addEventListener("click", () => {
    if (job) fetch(`/v1/generate/${job.id}`, { method: "DELETE" });
  });
}
