// What is in focus, in words and numbers.

const LISTED = 10;

function element(name, className, children = []) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function quoted(unit) {
  return `\u201c${unit.text}\u201d`;
}

// A bar with its name, rank and number.
function measureRow(label, value, rank, special) {
  const bar = element('i');
  bar.style.width = `${100 * Math.min(1, value)}%`;
  const name = element('bdi', special ? 'special' : '', [label]);
  name.title = label;
  return element('li', '', [
    element('small', '', [rank]), name, element('span', 'bar', [bar]), element('b', '', [value.toFixed(3)])]);
}

// What to say of a row or a column. phrases: {query: 'Writing', key: 'Looking at'}, as the kind of attention has it.
function readingOf(view, focus, phrases) {
  const lane = focus.query !== null ? 'query' : 'key';
  const ranking = view.ranking(lane, focus[lane]);
  const units = lane === 'query' ? view.columns : view.rows;
  const unit = lane === 'query' ? view.rows[focus.query] : view.columns[focus.key];
  return {
    heading: `${lane === 'query' ? phrases.query : phrases.key} ${quoted(unit)}`,
    detail: readingDetail(view, focus, lane, ranking),
    list: ranking.slice(0, LISTED).map(({place, weight}, rank) => ({unit: units[place], weight, rank: rank + 1})),
    rest: {count: Math.max(0, ranking.length - LISTED), mass: massOf(ranking.slice(LISTED))},
  };
}

function readingDetail(view, focus, lane, ranking) {
  if (focus.query !== null && focus.key !== null) {
    const key = view.columns[focus.key];
    if (view.masked(focus.query, focus.key)) return `It cannot see ${quoted(key)}, which comes later.`;
    const rank = ranking.findIndex((entry) => entry.place === focus.key) + 1;
    return `${quoted(key)} gets ${view.at(focus.query, focus.key).toFixed(3)}, rank ${rank} of ${ranking.length}.`;
  }
  if (lane === 'query') {
    return `Spread over about ${effectiveKeys(ranking).toFixed(1)} of the ${ranking.length} it can see.`;
  }
  const [received, even] = [massOf(ranking), evenShare(view, focus.key)].map((mass) => mass.toFixed(2));
  return `Receives ${received} in all; an even share would be ${even}.`;
}

// What a column would receive if every row spread evenly over what it can see.
function evenShare(view, column) {
  return view.rows.reduce((sum, _, row) => {
    if (view.masked(row, column)) return sum;
    return sum + 1 / view.columns.filter((__, other) => !view.masked(row, other)).length;
  }, 0);
}

function showReading(panel, reading) {
  const rest = reading.rest.count > 0 ?
      [element('p', 'note', [`${reading.rest.count} more together: ${reading.rest.mass.toFixed(3)}`])] : [];
  panel.replaceChildren(
      element('h3', '', [reading.heading]), element('p', '', [reading.detail]),
      element('ol', 'measures', reading.list.map(
          ({unit, weight, rank}) => measureRow(unit.text, weight, `${rank}`, unit.special))),
      ...rest);
}

// With nothing in focus: what this head was measured to do.
function showPatterns(panel, patterns, kind, heading) {
  const names = {
    cross: ['aligned', 'first', 'last', 'broad'],
    encoder: ['previous', 'same', 'next', 'first', 'last', 'broad'],
    decoder: ['previous', 'same', 'first', 'broad'],
  }[kind];
  panel.replaceChildren(
      element('h3', '', [heading]),
      element('p', '', [element('strong', '', [patterns.name]), ` \u2013 ${patternMeaning(patterns.name, kind)}.`]),
      element('ol', 'measures', names.map((name) => measureRow(name, patterns[name], '', false))),
      element('p', 'note', ['Measured shares of this sentence\u2019s attention, before any merging or pooling. ' +
                            'Point at a word to read its weights; click to keep it.']));
}
