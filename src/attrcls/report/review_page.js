// The page: brings decisions, cards, filters and the window together, and listens to keys, mouse and touch.

const byId = (id) => document.getElementById(id);
const review = JSON.parse(byId("data").textContent);
const { suspects, classes } = review;
const decisions = openDecisions({ suspects, classes, key: `attrcls-review-${review.digest}` });
const drawer = openCards({ review, decisions });
const list = byId("list");
const shown = { cards: [], current: null }; // `current` is the card that keys decide
let unsaved = false;
let pointed = false; // whether the last thing used was a mouse or a finger

const view = openWindow(list, {
  bar: byId("bar"),
  headOf: (index) => review.cards[index].head,
  isWide: drawer.isWide,
  draw: { heading: drawHeading, card: drawCard },
});
const filters = openFilters({ review, decisions, changed: showCards });

function drawCard(index) {
  const element = drawer.draw(index);
  if (index === shown.current) setCurrent(element, true);
  return element;
}

function drawHeading(head) {
  const indexes = shown.cards.filter((index) => review.cards[index].head === head);
  const labels = indexes.reduce((sum, index) => sum + review.cards[index].suspects.length, 0);
  const what = labels === indexes.length ? plural(labels, "suspect") : `${plural(labels, "suspect")} on ${plural(indexes.length, "card")}`;
  const keys = make("p", { className: "keys" });
  for (const [place, name] of classes[head].slice(0, 9).entries()) keys.append(make("span", {}, make("kbd", {}, String(place + 1)), ` ${name}`));
  return make("div", { className: "heading" }, make("h2", {}, head, make("span", { className: "quiet" }, ` ${what}`)), keys);
}

function setCurrent(element, on) {
  element.classList.toggle("current", on);
  element.tabIndex = on ? 0 : -1;
}

const elementOf = (index) => list.querySelector(`[data-card="${index}"]`);

function showCards(cards) {
  shown.cards = cards;
  if (!cards.includes(shown.current)) shown.current = cards.find(isOpen) ?? cards[0] ?? null;
  view.show(cards);
  byId("none").hidden = cards.length > 0;
  if (pointed) document.activeElement?.blur(); // so that keys are for cards again
}

const isOpen = (index) => !review.cards[index].suspects.every(decisions.isDecided);

function goTo(index, { focus = true, reveal = true } = {}) {
  const former = shown.current === null ? null : elementOf(shown.current);
  if (former) setCurrent(former, false);
  shown.current = index;
  if (reveal) view.reveal(index);
  const element = elementOf(index);
  if (!element) return;
  setCurrent(element, true);
  if (focus) element.focus({ preventScroll: true });
}

function step(by) {
  const next = shown.cards[shown.cards.indexOf(shown.current) + by];
  if (next !== undefined) goTo(next);
}

function goToNextOpen() {
  const here = shown.cards.indexOf(shown.current);
  const next = [...shown.cards.slice(here + 1), ...shown.cards.slice(0, here)].find(isOpen);
  if (next !== undefined) goTo(next);
  else if (isOpen(shown.current)) goTo(shown.current);
  else {
    goTo(shown.current);
    say("All that is shown here is decided.");
  }
}

/** Decide all suspects of a card; `entryOf(place)` gives each its own. */
function decide(index, entryOf) {
  const places = review.cards[index].suspects;
  decisions.decide(places.map((place) => [place, entryOf(place)]), index);
  unsaved = true;
  const { decision, label } = decisions.of(places[0]);
  refresh(index);
  say(`${review.cards[index].head}: ${MARKS[decision]} ${label || WORDS[decision]}`);
}

const CHOICES = {
  [KEEP]: () => ({ decision: KEEP, label: "" }),
  [DROP]: () => ({ decision: DROP, label: "" }),
  // A picture of the group that has no suggestion stays at what it stands at.
  [RELABEL]: (place) => (suspects[place].suggested_label ? relabelled(suspects[place], suspects[place].suggested_label) : decisions.of(place)),
};

function decideByKey(entryOf) {
  // A card that was scrolled away is shown first: nobody should decide what they do not see.
  if (!view.isSeen(shown.current)) {
    goTo(shown.current);
    say("This card is at hand: press again to decide it.");
    return;
  }
  decide(shown.current, entryOf);
  goToNextOpen();
}

function undo() {
  if (!decisions.canUndo()) return;
  const index = decisions.undo();
  unsaved = true;
  refresh(index);
  if (shown.cards.includes(index)) goTo(index);
  say(`Undone: ${review.cards[index].head}, ${review.cards[index].pictures[0].path}`);
}

function refresh(index) {
  const element = elementOf(index);
  if (element) drawer.mark(element);
  showProgress();
}

function showProgress() {
  byId("progress").textContent = `${decisions.count().toLocaleString("en")} of ${suspects.length.toLocaleString("en")} decided`;
  byId("meter").value = decisions.count();
  byId("undo").disabled = !decisions.canUndo();
  const fault = decisions.fault();
  byId("fault").hidden = !fault;
  byId("fault").textContent = `This browser remembers nothing for this page (${fault}): save your decisions before you close or reload it.`;
}

function save() {
  const url = URL.createObjectURL(new Blob([decisions.table()], { type: "text/csv" }));
  make("a", { href: url, download: "decisions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  unsaved = false;
  say(`decisions.csv: ${plural(suspects.length, "label")}, ${decisions.count().toLocaleString("en")} decided.`);
}

function say(text) {
  byId("said").textContent = text;
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

const KEYS = {
  k: () => decideByKey(CHOICES[KEEP]),
  d: () => decideByKey(CHOICES[DROP]),
  r: () => (review.cards[shown.current].suspects.some((place) => suspects[place].suggested_label) ? decideByKey(CHOICES[RELABEL]) : say("No class is suggested here.")),
  n: goToNextOpen,
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  ArrowUp: () => goTo(view.vertical(shown.current, -1)),
  ArrowDown: () => goTo(view.vertical(shown.current, 1)),
};
const KEYS_ANYWHERE = { u: undo, s: save, "?": () => byId("help").showModal() };

document.addEventListener("keydown", (event) => {
  pointed = false;
  if (byId("help").open || event.target.closest("select")) return;
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = keyOf(event);
  const act = KEYS_ANYWHERE[key] ?? (shown.current === null ? undefined : (KEYS[key] ?? decidesClass(key)));
  if (!act) return;
  event.preventDefault();
  // A key held down may walk, but not decide card after card.
  if (!event.repeat || key.startsWith("Arrow")) act();
});

/** The key by its Latin letter, also where the keyboard is set to another script: then the place of the key counts. */
function keyOf({ key, code }) {
  const latin = /^[\x20-\x7e]+$/.test(key) && key !== "Process";
  return (latin ? key : code.replace(/^Key/, "")).replace(/^.$/, (letter) => letter.toLowerCase());
}

function decidesClass(key) {
  const label = /^[1-9]$/.test(key) ? classes[review.cards[shown.current].head][key - 1] : undefined;
  return label === undefined ? undefined : () => decideByKey((place) => relabelled(suspects[place], label));
}

document.addEventListener("pointerdown", () => (pointed = true), true);

list.addEventListener("click", (event) => {
  const element = event.target.closest(".suspect");
  if (!element) return;
  const index = Number(element.dataset.card);
  const button = event.target.closest("button");
  goTo(index, { focus: !event.target.closest("button, select"), reveal: false });
  if (button) decide(index, CHOICES[button.value]);
});

// Tab may lead into a card that is not at hand yet.
list.addEventListener("focusin", (event) => {
  const index = Number(event.target.closest(".suspect")?.dataset.card ?? NaN);
  if (!Number.isNaN(index) && index !== shown.current) goTo(index, { focus: false, reveal: false });
});

list.addEventListener("change", (event) => {
  const index = Number(event.target.closest(".suspect").dataset.card);
  const label = classes[review.cards[index].head][event.target.value];
  if (event.target.value === "") drawer.mark(elementOf(index));
  else decide(index, (place) => relabelled(suspects[place], label));
  if (pointed) goTo(index, { reveal: false });
});

byId("undo").addEventListener("click", undo);
byId("save").addEventListener("click", save);
byId("help-open").addEventListener("click", KEYS_ANYWHERE["?"]);
byId("help-close").addEventListener("click", () => byId("help").close());
window.addEventListener("beforeunload", (event) => {
  if (unsaved && decisions.fault()) event.preventDefault();
});
decisions.follow(() => {
  for (const element of list.querySelectorAll(".suspect")) drawer.mark(element);
  showProgress();
});

showCards(filters.chosen());
showProgress();
if (shown.current !== null && decisions.count()) goTo(shown.current);
