// What each suspect stands at, undo, the browser's memory of it, and the table that leaves the page.

const KEEP = "keep";
const DROP = "drop_label";
const RELABEL = "relabel";
const COLUMNS = ["card", "row_id", "path", "head", "given_label", "suggested_label", "decision", "new_label"];

/** Decisions on `suspects`, remembered under `key`; `fault` says why nothing can be remembered, and is "" otherwise. */
function openDecisions({ suspects, classes, key }) {
  const memory = openMemory(key);
  const taken = new Map(); // suspect -> {decision, label}, only what a person decided
  const undoable = []; // the former entries of each decision, newest last
  recall();

  function recall() {
    taken.clear();
    for (const [place, { decision, label }] of memory.load()) {
      const suspect = suspects[Number(place)];
      if (!suspect || ![KEEP, DROP, RELABEL].includes(decision)) continue;
      // The browser's memory is open to other local pages, so a class is believed only if the head has it.
      if (decision === RELABEL && label !== suspect.suggested_label && !classes[suspect.head].includes(label)) continue;
      taken.set(Number(place), { decision, label });
    }
  }

  function atFirst({ decision, suggested_label }) {
    return { decision, label: decision === RELABEL ? suggested_label : "" };
  }

  return {
    fault: () => memory.fault,
    count: () => taken.size,
    canUndo: () => undoable.length > 0,
    isDecided: (place) => taken.has(place),
    of: (place) => taken.get(place) ?? atFirst(suspects[place]),

    /** Decide some suspects at once: entries of [suspect, {decision, label}]; undone at once, too. */
    decide(entries, card) {
      undoable.push({ card, former: entries.map(([place]) => [place, taken.get(place)]) });
      for (const [place, entry] of entries) taken.set(place, entry);
      memory.save(taken);
    },

    /** Take the last decision back, and return the card it was made on. */
    undo() {
      const { card, former } = undoable.pop();
      for (const [place, entry] of former) {
        if (entry) taken.set(place, entry);
        else taken.delete(place);
      }
      memory.save(taken);
      return card;
    },

    /** Call `then` after the same page in another tab has decided something. */
    follow(then) {
      window.addEventListener("storage", (event) => {
        if (event.key !== key) return;
        recall();
        undoable.length = 0; // what was undoable here may have been decided anew there
        then();
      });
    },

    /** The whole table, undecided suspects included, as CSV. */
    table() {
      const rows = suspects.map((suspect, place) => {
        const { decision, label } = this.of(place);
        const cells = { ...suspect, decision, new_label: decision === RELABEL ? label : "" };
        return COLUMNS.map((column) => quote(escapeCell(cells[column]))).join(",");
      });
      return [COLUMNS.join(","), ...rows, ""].join("\n");
    },
  };
}

// What a spreadsheet would run, as data/cells.py writes it: an apostrophe in front, but for plain numbers.
const RUNS = /^ *[\t\r\n=+\-@＝＋－＠]/;
const ESCAPED = /^'+ *[\t\r\n=+\-@＝＋－＠]/;
const NUMBER = /^ *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *$/;

function escapeCell(text) {
  return ESCAPED.test(text) || (RUNS.test(text) && !NUMBER.test(text)) ? `'${text}` : text;
}

function quote(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** The entry that gives `suspect` the class `label`; the class it has already is a keep. */
function relabelled(suspect, label) {
  return label === suspect.given_label ? { decision: KEEP, label: "" } : { decision: RELABEL, label };
}

function openMemory(key) {
  const memory = {
    fault: "",
    load() {
      try {
        return Object.entries(JSON.parse(localStorage.getItem(key)) ?? {}).filter(([, entry]) => entry);
      } catch (error) {
        // What cannot be parsed is of no page of ours; only a browser that refuses is a fault.
        if (!(error instanceof SyntaxError)) memory.fault = error.message;
        return [];
      }
    },
    save(taken) {
      try {
        localStorage.setItem(key, JSON.stringify(Object.fromEntries(taken)));
        memory.fault = "";
      } catch (error) {
        memory.fault = error.message;
      }
    },
  };
  return memory;
}
