// The page: one state, kept in the address; everything on the screen is drawn from it.

const KIND_NAMES = {cross: 'Cross-attention', encoder: 'Encoder self-attention', decoder: 'Decoder self-attention'};
const KIND_BUTTONS = {cross: 'Cross', encoder: 'Encoder', decoder: 'Decoder'};
const NOTHING = {query: null, key: null};
const MAX_TABLE_CELLS = 10000;

// A place is {query, key}: a row, a column or, with both, a cell of the view.
const isPlace = ({query, key}) => query !== null || key !== null;

// The place of the token that `node` belongs to, or null.
function placeOf(node) {
  const token = node?.closest('.token');
  return token ? {...NOTHING, [token.dataset.lane]: Number(token.dataset.place)} : null;
}

const byId = (id) => document.getElementById(id);
const stored = (id) => JSON.parse(byId(id).textContent);

// How the two sides are called, what the rows mean, and how a reading begins.
function wordingOf(kind, isLanguageModel) {
  if (kind === 'cross') {
    return {
      captions: {key: 'source, looked at', query: 'target, as it was written'},
      explanation: (here, there) =>
          `${here}, each target piece as it was being written; ${there}, the source it looked at meanwhile.`,
      phrases: {query: 'Writing', key: 'Looking at'},
    };
  }
  if (kind === 'encoder') {
    return {
      captions: {key: 'source, looked at', query: 'source, looking'},
      explanation: (here, there) => `${here}, each source piece; ${there}, the source pieces it gathered from.`,
      phrases: {query: 'For', key: 'Looking at'},
    };
  }
  if (isLanguageModel) {
    return {
      captions: {key: 'text, looked back at', query: 'text, as it was read'},
      explanation: (here, there) =>
          `${here}, each piece as it was being read to predict the next; ${there}, the pieces it looked back at.`,
      phrases: {query: 'Reading', key: 'Looking back at'},
    };
  }
  return {
    captions: {key: 'read so far, looked back at', query: 'target, as it was written'},
    explanation: (here, there) =>
        `${here}, each target piece as it was being written; ${there}, what the decoder had read by then: ` +
        'the start symbol and the pieces before.',
    phrases: {query: 'Writing', key: 'Looking back at'},
  };
}

class Page {
  constructor() {
    this.index = stored('index');
    this.sentences = new Map();
    this.hover = NOTHING;
    byId('model').textContent = this.index.model;
    if (this.index.sentences.length === 0) {
      document.querySelector('main').replaceChildren(element('p', 'notice', ['No sentence was recorded.']));
      return;
    }
    this.buildSentenceList();
    this.listen();
    this.readAddress();
  }

  sentence() {
    const {sentence} = this.state;
    if (!this.sentences.has(sentence)) this.sentences.set(sentence, new SentenceModel(stored(`sentence-${sentence}`)));
    return this.sentences.get(sentence);
  }

  // ---- State

  change(changes) {
    const keepsUnits = !['sentence', 'kind', 'words', 'text'].some((key) => key in changes);
    Object.assign(this.state, keepsUnits ? {} : {lock: NOTHING}, changes);
    this.hover = NOTHING;
    this.settle();
    this.draw();
    this.writeAddress();
  }

  // Makes the state one that the sentence has.
  settle() {
    const {state} = this;
    state.sentence = Math.min(Math.max(0, state.sentence), this.index.sentences.length - 1);
    const sentence = this.sentence();
    if (!sentence.kinds.includes(state.kind)) state.kind = sentence.kinds[0];
    if (!sentence.layers(state.kind).includes(state.layer)) state.layer = sentence.bestLayer(state.kind);
    if (state.head !== MEAN && !(state.head < sentence.map(state.kind, state.layer).heads)) state.head = MEAN;
    if (!sentence.hasWords) state.words = false;
  }

  readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const number = (name, fallback) => /^\d+$/.test(given.get(name) ?? '') ? Number(given.get(name)) : fallback;
    const on = (name) => given.get(name) === '1';
    const lock = /^(?:q(\d+))?(?:k(\d+))?$/.exec(given.get('lock') ?? '') ?? [];
    const layer = number('layer', 0) - 1;
    const head = number('head', 0) - 1;
    this.state = {
      sentence: number('sentence', 1) - 1, kind: given.get('kind'), layer, head: head < 0 ? MEAN : head,
      share: Math.min(100, Math.max(5, number('top', 80))),
      words: on('words'), text: on('text'), stretch: on('stretch'),
      lock: {query: lock[1] ? Number(lock[1]) - 1 : null, key: lock[2] ? Number(lock[2]) - 1 : null},
    };
    this.settle();
    this.draw();
  }

  writeAddress() {
    const {sentence, kind, layer, head, share, words, text, stretch, lock} = this.state;
    const values = {
      sentence: sentence + 1, kind, layer: layer + 1, head: head === MEAN ? 0 : head + 1, top: share,
      words: Number(words), text: Number(text), stretch: Number(stretch),
      lock: (lock.query === null ? '' : `q${lock.query + 1}`) + (lock.key === null ? '' : `k${lock.key + 1}`),
    };
    history.replaceState(null, '', `#${new URLSearchParams(values)}`);
  }

  // ---- Drawing

  draw() {
    this.width = document.querySelector('main').clientWidth;
    this.drawTexts();
    const {state} = this;
    const sentence = this.sentence();
    this.map = sentence.map(state.kind, state.layer);
    this.view = buildView(sentence, state);
    const within = (place, units) => place !== null && place < units.length ? place : null;
    state.lock = {query: within(state.lock.query, this.view.rows), key: within(state.lock.key, this.view.columns)};
    this.wording = wordingOf(state.kind, sentence.isLanguageModel);
    document.querySelector('main').classList.toggle('wide', this.map.heads > 8);
    this.drawControls();
    this.drawOverview();   // first, for the others have the room it leaves
    this.drawFigure();
    this.drawHeatmap();
    this.drawTable();
    this.drawFocus();
  }

  drawTexts() {
    const {source, target, reference, score} = this.index.sentences[this.state.sentence];
    const line = (name, text, className) => {
      if (text === undefined || text === '') return [];
      const value = element('dd', className, [text]);
      value.dir = 'auto';
      return [element('div', '', [element('dt', '', [name]), value])];
    };
    byId('texts').replaceChildren(
        ...line('source', source, 'source'), ...line(source ? 'target' : 'text', target),
        ...line('reference', reference), ...line('score', score?.toFixed(3), 'note'));
    const count = this.index.sentences.length;
    byId('sentence-open').textContent = `${this.state.sentence + 1} of ${count} \u25be`;
    byId('sentence-previous').disabled = this.state.sentence === 0;
    byId('sentence-next').disabled = this.state.sentence === count - 1;
    for (const button of byId('sentence-list').querySelectorAll('button')) {
      const current = Number(button.dataset.sentence) === this.state.sentence;
      button.setAttribute('aria-current', current);
      button.tabIndex = current ? 0 : -1;
    }
  }

  // "Cross-attention, layer 3 of 6, mean over 8 heads"
  heading() {
    const {kind, layer, head} = this.state;
    const heads = head === MEAN ? `mean over ${this.map.heads} heads` : `head ${head + 1} of ${this.map.heads}`;
    return `${KIND_NAMES[kind]}, layer ${layer + 1} of ${this.layerCount(kind)}, ${heads}`;
  }

  // Those that cannot be shown count too.
  layerCount(kind) {
    return this.sentence().layers(kind).length + this.absent(kind).length;
  }

  absent(kind) {
    return this.index.absent.filter((layer) => layer.kind === kind);
  }

  drawControls() {
    const {state} = this;
    const sentence = this.sentence();
    byId('kinds').replaceChildren(...sentence.kinds.map((kind) => {
      const button = element('button', '', [KIND_BUTTONS[kind]]);
      button.type = 'button';
      button.dataset.kind = kind;
      button.setAttribute('aria-pressed', kind === state.kind);
      return button;
    }));
    const layers = sentence.layers(state.kind);
    const options = (select, entries, current) => {
      select.replaceChildren(...entries.map(([value, text]) => new Option(text, value, false, value === current)));
    };
    options(byId('layer'), layers.map((layer) => [layer, `Layer ${layer + 1} of ${this.layerCount(state.kind)}`]), state.layer);
    const nameOf = (head) => head === MEAN ? 'Mean over heads' : `Head ${head + 1} of ${this.map.heads}`;
    options(byId('head'), this.heads().map((head) => [head, nameOf(head)]), state.head);
    byId('layer-previous').disabled = state.layer === layers[0];
    byId('layer-next').disabled = state.layer === layers.at(-1);
    byId('head-previous').disabled = state.head === MEAN;
    byId('head-next').disabled = state.head === this.map.heads - 1;
    byId('share').value = state.share;
    byId('share-value').textContent = `${state.share} %`;
    byId('words').disabled = !sentence.hasWords || this.map.pooled;
    for (const name of ['words', 'text', 'stretch']) byId(name).checked = state[name];
    const {name, score} = this.map.patternsOf(state.head);
    byId('figure-title').textContent = `${this.heading()} \u2013 ${name} ${score.toFixed(2)}`;
    byId('pooling').hidden = !this.map.pooled;
    byId('pooling').textContent = this.poolingNotice();
    byId('absent').hidden = this.absent(state.kind).length === 0;
    byId('absent').textContent = this.absent(state.kind)
        .map(({layer, reason}) => `Layer ${layer + 1} is not shown: ${reason}.`).join(' ');
  }

  poolingNotice() {
    const {queries, keys, rows, columns, query_block: queryBlock, key_block: keyBlock} = this.map;
    return `Long text: ${queries} \u00d7 ${keys} weights a head are shown as ${rows} \u00d7 ${columns}. A cell is ` +
        `the attention that ${keyBlock} neighbouring pieces get together, on average over ${queryBlock} neighbouring ` +
        'pieces that look; rows still sum to 1.';
  }

  heads() {
    return [MEAN, ...Array(this.map.heads).keys()];
  }

  drawFigure() {
    const {state} = this;
    const main = document.querySelector('main');
    const label = `${this.heading()}: words and curves`;
    const draw = () => new Figure(
        this.view, byId('figure').clientWidth, main.clientWidth - 88,
        {captions: this.wording.captions, share: state.share / 100, stretch: state.stretch, label});
    this.figure = draw();
    // The page has another layout for tall figures, and with it the figure another width.
    if (main.classList.contains('vertical') !== this.figure.layout.vertical) {
      main.classList.toggle('vertical', this.figure.layout.vertical);
      this.figure = draw();
    }
    const focused = placeOf(document.activeElement);
    byId('figure').replaceChildren(this.figure.svg);
    if (focused) this.figure.tokenAt(focused)?.group.focus({preventScroll: true});
    const sides = this.figure.layout.vertical ? ['Right', 'left'] : ['Below', 'above'];
    byId('explanation').textContent = this.wording.explanation(...sides);
    byId('mass').textContent = this.massSentence();
  }

  massSentence() {
    const {arcs, mass} = this.figure.strongest;
    const which = arcs.length === MAX_ARCS ? `The strongest ${MAX_ARCS} curves` :
        `${arcs.length} curves, the top ${this.state.share} % of each row,`;
    const largest = this.view.largest.toFixed(3);
    const opacity = this.state.stretch ? `, stretched so that ${largest} is opaque` :
        this.view.largest < 0.3 ? `, at most ${largest}: stretch the colours to see more` : '';
    return `${which} hold ${percent(mass)} of the mass; opacity is the weight${opacity}.`;
  }

  drawHeatmap() {
    const {state, view} = this;
    const extent = `${view.rows.length} by ${view.columns.length} weights`;
    this.heatmap = new Heatmap(view, byId('heatmap').clientWidth - 6, {
      captions: this.wording.captions, stretch: state.stretch,
      label: `${this.heading()}: ${extent}; arrow keys move from cell to cell`,
    });
    const focused = byId('heatmap').contains(document.activeElement);
    byId('heatmap').replaceChildren(this.heatmap.svg);
    if (focused) this.heatmap.svg.focus({preventScroll: true});
    paintLegend(byId('legend'), 1);
    byId('legend-top').textContent = state.stretch ? view.largest.toFixed(3) : '1';
    byId('legend-masked').hidden = !view.causal;
    const computed = this.map.row_sum_error.toExponential(1);
    const kept = this.map.storedSumError(state.head).toExponential(1);
    byId('sums').textContent = `Rows sum to 1 \u00b1 ${computed} as computed, \u00b1 ${kept} as kept here.` +
        (view.causal ? ' Nothing looked ahead: those weights are exactly 0.' : '');
  }

  drawOverview() {
    const key = `${this.state.sentence} ${this.state.kind} ${prefersDark()}`;
    if (this.overviewKey !== key) {
      this.overviewKey = key;
      this.overview = new Overview(this.sentence(), this.state.kind, (choice) => this.change(choice));
      byId('overview').replaceChildren(this.overview.element);
    }
    this.overview.show(this.state.layer, this.state.head);
  }

  // All weights where a table of them can be read; the strongest of each row where it cannot.
  drawTable() {
    if (!byId('numbers').open) return byId('table').replaceChildren();
    const {rows, columns} = this.view;
    const whole = rows.length * columns.length <= MAX_TABLE_CELLS;
    byId('table').replaceChildren(whole ? this.wholeTable() : this.rankedTable());
  }

  table(caption, header, body) {
    const cell = (name, scope) => (text) => {
      const node = element(name, '', [element('bdi', '', [text])]);
      if (scope) node.scope = scope;
      return node;
    };
    const line = ([first, ...rest]) => element('tr', '', [cell('th', 'row')(first), ...rest.map(cell('td'))]);
    return element('table', '', [
      element('caption', 'note', [caption]), element('thead', '', [element('tr', '', header.map(cell('th', 'col')))]),
      element('tbody', '', body.map(line))]);
  }

  wholeTable() {
    const {rows, columns} = this.view;
    const number = (row, column) => this.view.masked(row, column) ? '\u2013' : this.view.at(row, column).toFixed(3);
    return this.table(`${this.heading()}. Rows: ${this.wording.captions.query}; columns: ${this.wording.captions.key}.`,
                      ['', ...columns.map((unit) => unit.text)],
                      rows.map((unit, row) => [unit.text, ...columns.map((_, column) => number(row, column))]));
  }

  rankedTable() {
    const {rows, columns} = this.view;
    const ranked = (row) => this.view.ranking('query', row).slice(0, LISTED)
        .map(({place, weight}) => `${columns[place].text} ${weight.toFixed(3)}`);
    return this.table(`${this.heading()}. The ${LISTED} largest weights of each row, of ${columns.length}.`,
                      ['', ...Array.from({length: LISTED}, (_, rank) => `${rank + 1}`)],
                      rows.map((unit, row) => [unit.text, ...ranked(row)]));
  }

  // ---- Focus: what is pointed at, else what is kept

  focus() {
    return isPlace(this.hover) ? this.hover : this.state.lock;
  }

  drawFocus() {
    const focus = this.focus();
    this.figure.show(focus, this.state.lock);
    this.heatmap.show(focus);
    if (isPlace(focus)) {
      showReading(byId('reading'), readingOf(this.view, focus, this.wording.phrases));
    } else {
      const {kind, layer, head} = this.state;
      const heading = `Layer ${layer + 1}, ${head === MEAN ? 'mean over heads' : headName(head)}`;
      showPatterns(byId('reading'), this.map.patternsOf(head), kind, heading);
    }
  }

  point(hover) {
    if (hover.query === this.hover.query && hover.key === this.hover.key) return;
    this.hover = hover;
    this.drawFocus();
  }

  lock(place) {
    this.state.lock = place;
    this.hover = NOTHING;
    this.drawFocus();
    this.writeAddress();
  }

  // Keeps a place, or lets go of it when it is kept already.
  toggle(place) {
    const {lock} = this.state;
    this.lock(place.query === lock.query && place.key === lock.key ? NOTHING : place);
  }

  // Moves on from the word that has the focus, else from the kept one: by `step`, or to its strongest partner on the
  // other side.
  moveWord(step, other) {
    const from = placeOf(document.activeElement) ?? this.state.lock;
    if (!isPlace(from)) return this.keepPlace(other ?? 'query', 0);
    const lane = from.query !== null ? 'query' : 'key';
    const units = {query: this.view.rows, key: this.view.columns};
    if (other === lane) return;
    if (other) return this.keepPlace(other, this.view.ranking(lane, from[lane])[0].place);
    this.keepPlace(lane, Math.min(units[lane].length - 1, Math.max(0, from[lane] + step)));
  }

  keepPlace(lane, place) {
    const within = placeOf(document.activeElement) !== null;
    this.lock({...NOTHING, [lane]: place});
    const {group} = this.figure.tokens[lane][place];
    if (within) group.focus({preventScroll: true});
    group.scrollIntoView({block: 'nearest', inline: 'nearest'});
  }

  moveCell(rows, columns) {
    const {lock} = this.state;
    const limit = (value, count) => Math.min(count - 1, Math.max(0, value));
    const cell = {query: limit((lock.query ?? 0) + (lock.query === null ? 0 : rows), this.view.rows.length),
                  key: limit((lock.key ?? 0) + (lock.key === null ? 0 : columns), this.view.columns.length)};
    this.lock(cell);
  }

  // ---- Sentences

  buildSentenceList() {
    byId('picker-step').hidden = this.index.sentences.length === 1;
    byId('sentence-search').hidden = this.index.sentences.length <= 8;
    byId('sentence-list').replaceChildren(...this.index.sentences.map(({source, target}, place) => {
      const line = (text) => {
        const span = element('span', '', [clipped(text, 200)]);
        span.dir = 'auto';
        return span;
      };
      const button = element('button', '', (source ? [source, target] : [target]).map(line));
      button.type = 'button';
      button.dataset.sentence = place;
      return element('li', '', [button]);
    }));
    this.filterSentences('');
  }

  filterSentences(text) {
    const wanted = text.toLocaleLowerCase();
    let found = 0;
    [...byId('sentence-list').children].forEach((item, place) => {
      const {source, target, reference = ''} = this.index.sentences[place];
      item.hidden = ![source, target, reference].some((line) => line.toLocaleLowerCase().includes(wanted));
      found += item.hidden ? 0 : 1;
    });
    const {omitted, max_bytes: limit, sentences} = this.index;
    const room = `a page holds ${Math.round(limit / 1048576)} MB of weights`;
    byId('sentence-note').textContent = (wanted ? `${found} of ${sentences.length} found. ` : '') +
        (omitted ? `${omitted} more sentences were left out: ${room}.` : '');
  }

  openSentences(open) {
    byId('sentence-panel').hidden = !open;
    byId('sentence-open').setAttribute('aria-expanded', open);
    if (!open) return;
    const current = byId('sentence-list').querySelector('[aria-current="true"]');
    current?.scrollIntoView({block: 'nearest'});
    (byId('sentence-search').hidden ? current : byId('sentence-search'))?.focus();
  }

  moveInSentences(event) {
    const step = {ArrowUp: -1, ArrowDown: 1}[event.key];
    if (!step) return;
    const buttons = [...byId('sentence-list').querySelectorAll('li:not([hidden]) button')];
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
    event.preventDefault();
  }

  // ---- Events

  listen() {
    addEventListener('hashchange', () => this.readAddress());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    new ResizeObserver(() => this.resized()).observe(document.querySelector('main'));
    document.addEventListener('keydown', (event) => this.key(event));
    this.listenToSentences();
    this.listenToControls();
    this.listenToFigures();
    this.listenToButtons();
  }

  resized() {
    if (this.width !== document.querySelector('main').clientWidth) this.draw();
  }

  listenToSentences() {
    byId('sentence-open').addEventListener('click', () => this.openSentences(byId('sentence-panel').hidden));
    byId('sentence-previous').addEventListener('click', () => this.change({sentence: this.state.sentence - 1}));
    byId('sentence-next').addEventListener('click', () => this.change({sentence: this.state.sentence + 1}));
    byId('sentence-search').addEventListener('input', (event) => this.filterSentences(event.target.value));
    byId('sentence-panel').addEventListener('keydown', (event) => this.moveInSentences(event));
    byId('sentence-list').addEventListener('click', (event) => {
      const button = event.target.closest('button');
      if (!button) return;
      this.change({sentence: Number(button.dataset.sentence)});
      this.openSentences(false);
      byId('sentence-open').focus();
    });
    document.addEventListener('pointerdown', (event) => {
      if (!byId('picker').contains(event.target)) this.openSentences(false);
    });
  }

  listenToControls() {
    byId('kinds').addEventListener('click', (event) => {
      const {kind} = event.target.dataset;
      if (!kind) return;
      this.changeKind(kind);
      byId('kinds').querySelector(`[data-kind="${kind}"]`).focus();
    });
    byId('layer').addEventListener('change', (event) => this.change({layer: Number(event.target.value)}));
    byId('head').addEventListener('change', (event) => {
      this.change({head: event.target.value === MEAN ? MEAN : Number(event.target.value)});
    });
    byId('layer-previous').addEventListener('click', () => this.stepLayer(-1));
    byId('layer-next').addEventListener('click', () => this.stepLayer(1));
    byId('head-previous').addEventListener('click', () => this.stepHead(-1));
    byId('head-next').addEventListener('click', () => this.stepHead(1));
    byId('share').addEventListener('input', (event) => this.change({share: Number(event.target.value)}));
    for (const name of ['words', 'text', 'stretch']) {
      byId(name).addEventListener('change', (event) => this.change({[name]: event.target.checked}));
    }
    byId('numbers').addEventListener('toggle', () => this.drawTable());
  }

  changeKind(kind) {
    if (this.sentence().kinds.includes(kind) && kind !== this.state.kind) this.change({kind});
  }

  stepLayer(step) {
    const layers = this.sentence().layers(this.state.kind);
    const layer = layers[layers.indexOf(this.state.layer) + step];
    if (layer !== undefined) this.change({layer});
  }

  stepHead(step) {
    const head = this.heads()[this.heads().indexOf(this.state.head) + step];
    if (head !== undefined) this.change({head});
  }

  listenToFigures() {
    const figure = byId('figure');
    figure.addEventListener('pointermove', (event) => {
      if (event.pointerType === 'mouse') this.point(placeOf(event.target) ?? NOTHING);
    });
    figure.addEventListener('pointerleave', () => this.point(NOTHING));
    figure.addEventListener('focusin', (event) => this.point(placeOf(event.target) ?? NOTHING));
    figure.addEventListener('focusout', () => this.point(NOTHING));
    figure.addEventListener('click', (event) => {
      const place = placeOf(event.target);
      if (place) this.toggle(place);
    });
    figure.addEventListener('keydown', (event) => {
      const place = placeOf(event.target);
      if (!place || event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      this.toggle(place);
    });
    const heatmap = byId('heatmap');
    heatmap.addEventListener('pointermove', (event) => {
      if (event.pointerType === 'mouse') this.point(this.heatmap.cellAt(event) ?? NOTHING);
    });
    heatmap.addEventListener('pointerleave', () => this.point(NOTHING));
    heatmap.addEventListener('click', (event) => {
      const cell = this.heatmap.cellAt(event);
      if (cell) this.toggle(cell);
    });
  }

  listenToButtons() {
    byId('help-open').addEventListener('click', () => byId('help').showModal());
    for (const part of ['figure', 'heatmap']) {
      byId(`${part}-svg`).addEventListener('click', () => saveSvg(this.picture(part), this.fileName(part)));
      byId(`${part}-png`).addEventListener('click', () => savePng(this.picture(part), this.fileName(part)));
    }
  }

  picture(part) {
    return pictureOf(this[part].svg, this.heading(),
                     `${this.index.model}. Attention shows where the model looks, not why it decides.`);
  }

  fileName(part) {
    const {sentence, kind, layer, head} = this.state;
    return `attention-${sentence + 1}-${kind}-${layer + 1}-${head === MEAN ? MEAN : head + 1}-${part}`;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) return;
    if (event.key === 'Escape') return this.escape();
    if (event.target.closest('input[type="search"], input[type="range"], select, #sentence-panel, #table')) return;
    if (this.arrow(event) || this.letter(event.key)) event.preventDefault();
  }

  escape() {
    if (!byId('sentence-panel').hidden) {
      this.openSentences(false);
      byId('sentence-open').focus();
    } else {
      this.lock(NOTHING);
    }
  }

  arrow(event) {
    const step = ARROWS[event.key];
    if (!step) return false;
    const [rows, columns] = step;
    if (byId('heatmap').contains(event.target)) {
      this.moveCell(rows, columns);
    } else if (this.figure.layout.vertical) {
      this.moveWord(rows, columns === 0 ? null : columns < 0 ? 'key' : 'query');
    } else {
      this.moveWord(columns, rows === 0 ? null : rows < 0 ? 'key' : 'query');
    }
    return true;
  }

  letter(key) {
    const {state} = this;
    const toggle = (name) => () => byId(name).disabled || this.change({[name]: !state[name]});
    const sentence = (step) => () => {
      const next = state.sentence + step;
      if (next >= 0 && next < this.index.sentences.length) this.change({sentence: next});
    };
    const actions = {
      '[': () => this.stepLayer(-1), ']': () => this.stepLayer(1),
      ',': () => this.stepHead(-1), '.': () => this.stepHead(1),
      'c': () => this.changeKind('cross'), 'e': () => this.changeKind('encoder'), 'd': () => this.changeKind('decoder'),
      'p': sentence(-1), 'n': sentence(1),
      'w': toggle('words'), 't': toggle('text'), 's': toggle('stretch'),
      '?': () => byId('help').showModal(),
    };
    if (/^\d$/.test(key)) {
      const head = Number(key) === 0 ? MEAN : Number(key) - 1;
      if (head === MEAN || head < this.map.heads) this.change({head});
      return true;
    }
    actions[key]?.();
    return key in actions;
  }
}

const page = new Page();
