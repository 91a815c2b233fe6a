// Which cards are shown: by head, and by what their suspects were given, suggested, held for and decided.

const ANY = "";
const FIELDS = { given: "given_label", suggested: "suggested_label", reason: "reason" };
const DECIDED = { undecided: "undecided", [KEEP]: "keep", [DROP]: "drop", [RELABEL]: "relabel" };

/** Fill the filters, and call `changed(cards)` whenever others are to be shown. */
function openFilters({ review, decisions, changed }) {
  const { suspects, cards } = review;
  const select = (name) => document.getElementById(`filter-${name}`);

  fill(select("head"), count(suspects.map(({ head }) => head)), "all heads");
  fill(select("decision"), new Map(Object.entries(DECIDED)), "any", (name, words) => words);
  fillFields();
  select("head").addEventListener("change", fillFields);
  for (const name of ["head", "decision", ...Object.keys(FIELDS)]) select(name).addEventListener("change", () => changed(chosen()));

  /** Offer the classes and reasons of the chosen head only. */
  function fillFields() {
    const head = select("head").value;
    const offered = suspects.filter((suspect) => head === ANY || suspect.head === head);
    for (const [name, field] of Object.entries(FIELDS)) fill(select(name), count(offered.map((suspect) => suspect[field])), "any");
  }

  function chosen() {
    const wanted = Object.entries(FIELDS).map(([name, field]) => [field, select(name).value]);
    const [head, decision] = [select("head").value, select("decision").value];
    return [...cards.keys()].filter((index) => {
      const card = cards[index];
      if (head !== ANY && card.head !== head) return false;
      // One and the same suspect must fit; the rest of its group comes along.
      return card.suspects.some((place) => wanted.every(([field, value]) => value === ANY || suspects[place][field] === value) && stands(place, decision));
    });
  }

  function stands(place, decision) {
    if (decision === ANY) return true;
    return decisions.isDecided(place) ? decisions.of(place).decision === decision : decision === "undecided";
  }

  return { chosen };
}

function count(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

function fill(select, counts, any, words = (name, times) => `${name} (${times.toLocaleString("en")})`) {
  select.replaceChildren(make("option", { value: ANY }, any));
  for (const [name, times] of counts) if (name !== ANY) select.append(make("option", { value: name }, words(name, times)));
}
