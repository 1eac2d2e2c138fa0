// What the page knows: weights, the pieces they belong to, and views of both. Nothing here touches the document.

const WORD_START = '\u2581';
const MEAN = 'mean';
const MAX_ARCS = 2000;

function decodeBytes(base64) {
  const characters = atob(base64);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; ++i) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

// One layer's attention of one kind. A cell is scale / 65535 * byte / 255, within 1/510 of what the model computed.
class AttentionMap {
  constructor(stored) {
    const {scales, weights, ...facts} = stored;
    Object.assign(this, facts);
    const bytes = decodeBytes(scales);
    this.scales = Uint16Array.from({length: bytes.length / 2}, (_, i) => bytes[2 * i] | bytes[2 * i + 1] << 8);
    this.bytes = decodeBytes(weights);
    this.decoded = new Map();
  }

  // Weights [rows, columns] of a head, or of the mean over the heads.
  weights(head) {
    if (!this.decoded.has(head)) this.decoded.set(head, head === MEAN ? this.mean() : this.decodeHead(head));
    return this.decoded.get(head);
  }

  decodeHead(head) {
    const weights = new Float32Array(this.rows * this.columns);
    for (let row = 0; row < this.rows; ++row) {
      const line = head * this.rows + row;
      const unit = this.scales[line] / 65535 / 255;
      for (let column = 0; column < this.columns; ++column) {
        weights[row * this.columns + column] = unit * this.bytes[line * this.columns + column];
      }
    }
    return weights;
  }

  mean() {
    const mean = new Float32Array(this.rows * this.columns);
    for (let head = 0; head < this.heads; ++head) {
      this.weights(head).forEach((weight, cell) => { mean[cell] += weight / this.heads; });
    }
    return mean;
  }

  patternsOf(head) {
    return head === MEAN ? this.mean_patterns : this.patterns[head];
  }

  // Largest |row sum - 1| of the weights as the page holds them.
  storedSumError(head) {
    const weights = this.weights(head);
    let error = 0;
    for (let row = 0; row < this.rows; ++row) {
      let sum = 0;
      for (let column = 0; column < this.columns; ++column) sum += weights[row * this.columns + column];
      error = Math.max(error, Math.abs(sum - 1));
    }
    return error;
  }

  get pooled() {
    return this.query_block > 1 || this.key_block > 1;
  }
}

// A unit is what one row or column stands for: a piece, a word, or a block of neighbours. `first` and `last` are the
// places of its pieces, `begins` says whether it begins a word.
function pieceUnits(pieces) {
  const special = new Set(pieces.special);
  const marked = pieces.texts.some((piece) => piece.startsWith(WORD_START));
  return pieces.texts.map((piece, place) => ({
    piece, text: shownText(piece), first: place, last: place, special: special.has(place),
    begins: !marked || piece.startsWith(WORD_START) || special.has(place) || place === 0 || special.has(place - 1),
  }));
}

function shownText(piece) {
  const text = piece.replaceAll(WORD_START, ' ').trim();
  return text === '' ? '\u2423' : text;
}

function joined(units) {
  return {
    piece: units.map((unit) => unit.piece).join(''),
    text: shownText(units.map((unit) => unit.piece).join('')),
    first: units[0].first, last: units.at(-1).last, special: units[0].special, begins: true,
  };
}

function blockUnits(units, size) {
  if (size === 1) return units;
  const blocks = [];
  for (let i = 0; i < units.length; i += size) {
    const members = units.slice(i, i + size);
    const [first, last] = [members[0].text, members.at(-1).text];
    const names = members.length > 1 ? {text: `${first}\u2026${last}`, short: `${first}\u2026`} : {text: first};
    blocks.push({...joined(members), ...names, special: false});
  }
  return blocks;
}

// Places of units, grouped by word.
function wordGroups(units) {
  const groups = [];
  units.forEach((unit, place) => {
    if (unit.begins) groups.push([]);
    groups.at(-1).push(place);
  });
  return groups;
}

// Text of a sentence and its maps by kind and layer.
class SentenceModel {
  constructor(stored) {
    this.stored = stored;
    this.maps = new Map(stored.maps.map((map) => [`${map.kind} ${map.layer}`, map]));
    this.decoded = new Map();
  }

  get kinds() {
    return ['cross', 'encoder', 'decoder'].filter((kind) => this.layers(kind).length > 0);
  }

  layers(kind) {
    return this.stored.maps.filter((map) => map.kind === kind).map((map) => map.layer).sort((a, b) => a - b);
  }

  map(kind, layer) {
    const key = `${kind} ${layer}`;
    if (!this.decoded.has(key)) this.decoded.set(key, new AttentionMap(this.maps.get(key)));
    return this.decoded.get(key);
  }

  get isLanguageModel() {
    return this.stored.source.texts.length === 0;
  }

  // Whether the tokenizer marks where words begin; without marks, pieces cannot be put together.
  get hasWords() {
    const {source, target} = this.stored;
    return [...source.texts, ...target.texts].some((piece) => piece.startsWith(WORD_START));
  }

  queryUnits(kind) {
    return pieceUnits(kind === 'encoder' ? this.stored.source : this.stored.target);
  }

  keyUnits(kind) {
    const {source, target, start} = this.stored;
    if (kind !== 'decoder') return pieceUnits(source);
    if (!start) return pieceUnits(target);
    return pieceUnits({
      texts: [...start.texts, ...target.texts.slice(0, -1)],
      special: [...start.special, ...target.special.map((place) => place + 1)],
    });
  }

  // The layer whose mean over the heads aligns source and target best; for other kinds the last.
  bestLayer(kind) {
    const layers = this.layers(kind);
    if (kind !== 'cross') return layers.at(-1);
    const alignment = (layer) => this.maps.get(`${kind} ${layer}`).mean_patterns.aligned;
    return layers.reduce((best, layer) => alignment(layer) >= alignment(best) ? layer : best);
  }
}

function massOf(entries) {
  return entries.reduce((sum, entry) => sum + entry.weight, 0);
}

// What is on the screen: values [rows, columns] with the units of both sides.
class View {
  constructor(rows, columns, values, causal) {
    Object.assign(this, {rows, columns, values, causal});
    this.largest = values.reduce((largest, value) => Math.max(largest, value), 0);
  }

  at(row, column) {
    return this.values[row * this.columns.length + column];
  }

  // Whether no query of the row may see any key of the column.
  masked(row, column) {
    return this.causal && this.columns[column].first > this.rows[row].last;
  }

  // Places of the other side, by falling weight, of a row ('query') or of a column ('key').
  ranking(lane, place) {
    const others = lane === 'query' ? this.columns : this.rows;
    const weight = (other) => lane === 'query' ? this.at(place, other) : this.at(other, place);
    const visible = (other) => lane === 'query' ? !this.masked(place, other) : !this.masked(other, place);
    return others.map((_, other) => ({place: other, weight: weight(other)}))
        .filter((entry) => visible(entry.place))
        .sort((a, b) => b.weight - a.weight || a.place - b.place);
  }

  // The fewest cells of each row that hold `share` of its mass, at most MAX_ARCS in all, weakest first, and the share
  // of the whole mass that they hold.
  strongest(share) {
    let arcs = [];
    let total = 0;
    for (let row = 0; row < this.rows.length; ++row) {
      const ranking = this.ranking('query', row);
      const mass = massOf(ranking);
      total += mass;
      let held = 0;
      for (const {place, weight} of ranking) {
        if (weight === 0 || held >= share * mass - 1e-6) break;
        held += weight;
        arcs.push({row, column: place, weight});
      }
    }
    arcs.sort((a, b) => a.weight - b.weight);
    arcs = arcs.slice(-MAX_ARCS);
    return {arcs, mass: total > 0 ? massOf(arcs) / total : 0};
  }
}

function singles(units) {
  return units.map((_, place) => [place]);
}

// Sum over the keys of the mean over the queries, so that rows still sum to 1.
function grouped(values, columns, rowGroups, columnGroups) {
  const result = new Float32Array(rowGroups.length * columnGroups.length);
  rowGroups.forEach((rows, i) => columnGroups.forEach((keys, j) => {
    let sum = 0;
    for (const row of rows) for (const key of keys) sum += values[row * columns + key];
    result[i * columnGroups.length + j] = sum / rows.length;
  }));
  return result;
}

// options: {kind, layer, head, words: merge pieces into words, text: leave special symbols out}
function buildView(sentence, options) {
  const map = sentence.map(options.kind, options.layer);
  const rowUnits = blockUnits(sentence.queryUnits(options.kind), map.query_block);
  const columnUnits = blockUnits(sentence.keyUnits(options.kind), map.key_block);
  const groupsOf = (units) => (options.words && !map.pooled ? wordGroups(units) : singles(units))
      .filter((group) => !(options.text && units[group[0]].special));
  const unitOf = (units) => (group) => group.length > 1 ? joined(group.map((place) => units[place])) : units[group[0]];
  const rowGroups = groupsOf(rowUnits);
  const columnGroups = groupsOf(columnUnits);
  const values = grouped(map.weights(options.head), map.columns, rowGroups, columnGroups);
  return new View(rowGroups.map(unitOf(rowUnits)), columnGroups.map(unitOf(columnUnits)), values, map.causal);
}

// Over how many keys a row spreads: the exponential of its entropy.
function effectiveKeys(ranking) {
  const mass = massOf(ranking);
  const parts = ranking.map(({weight}) => weight / mass).filter((part) => part > 0);
  const entropy = parts.reduce((sum, part) => sum - part * Math.log(part), 0);
  return Math.exp(entropy);
}
