#!/usr/bin/env python3
"""Golden numbers of whole models, made by Hugging Face transformers (bench/peers/requirements.txt pins the version).

For each tiny random model this writes, into tests/data/,
  NAME/                    the model as transformers saves it: config.json, model.safetensors, generation_config.json
  NAME-golden.safetensors  one ragged batch and what the model makes of it:
    source.ids, source.offsets    i32, encoder-decoder models only
    input.ids, input.offsets      i32, what the (decoder's) embedding sees
    target.ids                    i32 [tokens], the token each position is to predict; offsets are input.offsets
    logits                        f32 [tokens, vocab]
    label_smoothing, loss         f64 [1]; the mean over all tokens of (1 - s) * -log p(target) + s * mean over the vocabulary of -log p
    gradient.PARAMETER            f32, of that loss
  NAME-generation.json     what 20 sources or prompts give: greedy and beam outputs; log probabilities of the latter (of all of translations).

Everything is computed in float64, one sequence at a time (so without padding), from the float32 weights that are saved.

usage: $(bench/peers/setup) script/goldens/model.py [OUTPUT_DIRECTORY [NAME...]]
"""

import contextlib
import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM, AutoModelForSeq2SeqLM, BartConfig, BertConfig, BertForPreTraining, DistilBertConfig,
    DistilBertForMaskedLM, Gemma2Config, GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig,
    M2M100Config, MarianConfig, MarianMTModel, MBartConfig, MistralConfig, MT5Config, Qwen2Config, Qwen3Config,
    RobertaConfig, RobertaForMaskedLM, T5Config, XLMRobertaConfig, XLMRobertaModel,
)  # fmt: skip

PAD, EOS = 49, 0


def randomise(model, generator):
    """Gives every parameter, biases and norms included, values that matter, so that no mistake in one stays unseen."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("embed_positions.weight"):
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm_weight = parameter.dim() == 1 and ("norm" in name.lower() or ".ln_" in name)
            if name.endswith(".bias"):
                parameter.copy_(0.1 * noise)
            elif is_norm_weight:
                parameter.copy_(1 + 0.1 * noise)
            else:
                parameter.copy_(0.3 * noise)
    return model.eval()


def exact_sinusoids(positions, width):
    """The paper's table (3.5) in float64, sines in the first half and cosines in the second, as Marian lays it out."""
    frequencies = torch.pow(10000.0, -2 * torch.arange(width // 2, dtype=torch.float64) / width)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


@contextlib.contextmanager
def double_everywhere():
    """Makes the code of transformers compute in float64 where it asks for float32 whatever the model's type."""
    kept = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = kept
        torch.set_default_dtype(torch.float32)


def in_float64(model, directory):
    """The saved model in float64, without the roundings and omissions that transformers has there; to be made and used
    within double_everywhere()."""
    config = type(model.config).from_pretrained(directory)
    exact = type(model)._from_config(config, dtype=torch.float64, attn_implementation="eager").eval()
    exact.load_state_dict(model.state_dict())
    for module in exact.modules():
        # Else the gradient would leave out the decoder's start token, which is the padding token.
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    if isinstance(exact, MarianMTModel):
        for stack in (exact.model.encoder, exact.model.decoder):
            table = stack.embed_positions.weight
            sinusoids = exact_sinusoids(*table.shape)
            assert (table - sinusoids).abs().max() < 1e-6
            table.data.copy_(sinusoids)
    return exact


def random_sentences(generator, lengths, vocab):
    """Ids from 1 to vocab - 2: neither end of sentence nor padding."""
    return [torch.randint(1, vocab - 1, (length,), generator=generator).tolist() for length in lengths]


def ragged(name, sequences):
    offsets = [0]
    for sequence in sequences:
        offsets.append(offsets[-1] + len(sequence))
    return {
        f"{name}.ids": torch.tensor([i for sequence in sequences for i in sequence], dtype=torch.int32),
        f"{name}.offsets": torch.tensor(offsets, dtype=torch.int32),
    }


def smoothed_cross_entropy(logits, targets, smoothing):
    log_p = torch.log_softmax(logits, dim=-1)
    nll = -log_p.gather(1, targets[:, None])[:, 0]
    return ((1 - smoothing) * nll + smoothing * -log_p.mean(dim=-1)).mean()


def saved_name(model, name):
    """The name that a parameter has in files, where it differs."""
    return "embed_out.weight" if isinstance(model, GPTNeoXForCausalLM) and name == "lm_head.weight" else name


def golden(model, arguments, inputs, targets, smoothing):
    """Logits, loss and gradients of a batch; arguments[i] are the keyword arguments of sequence i."""
    outputs = [model(**a) for a in arguments]
    logits = torch.cat([getattr(o, "logits", getattr(o, "prediction_logits", None))[0] for o in outputs])
    flat_targets = torch.tensor([i for sequence in targets for i in sequence])
    loss = smoothed_cross_entropy(logits, flat_targets, smoothing)
    model.zero_grad()  # a model that was trained a little still has its last gradients
    loss.backward()
    gradients = {
        f"gradient.{saved_name(model, name)}": parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return ragged("input", inputs) | gradients | {
        "target.ids": flat_targets.to(torch.int32),
        "logits": logits.detach(),
        "label_smoothing": torch.tensor([smoothing], dtype=torch.float64),
        "loss": loss.detach()[None],
    }


def write(directory, name, model, numbers_of):
    """Saves the model, then its golden numbers."""
    model.save_pretrained(directory / name)
    with double_everywhere():
        numbers = numbers_of(in_float64(model, directory / name))
    rounded = ("logits", "hidden", "pooled", "gradient.")
    numbers = {key: value.float() if key.startswith(rounded) else value for key, value in numbers.items()}
    save_file({key: value.contiguous() for key, value in numbers.items()}, directory / f"{name}-golden.safetensors")
    loss = f"loss {numbers['loss'].item():.6f}" if "loss" in numbers else "no head"
    print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters, {loss}")


def marian():
    config = MarianConfig(
        vocab_size=50, d_model=16, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, activation_function="relu", scale_embedding=True,
        max_position_embeddings=64, dropout=0.0, pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD,
        attn_implementation="eager",
    )  # fmt: skip
    generator = torch.Generator().manual_seed(4)
    model = randomise(MarianMTModel(config), generator)
    model.final_logits_bias.copy_(0.2 * torch.randn(model.final_logits_bias.shape, generator=generator))
    # Padding never comes out, whether or not a decoder forbids it.
    model.final_logits_bias[0, PAD] = -16
    return learn_to_reverse(model, generator)


def first_word(model):
    """The first id that is no special token."""
    return 1 if model.config.model_type == "marian" else 3


def learn_to_reverse(model, generator, steps=900, batch=16):
    """Trains a little on sentences read backwards: enough for outputs that vary and end, too little to be sure of them."""
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        length = 1 + step % 8
        words = torch.randint(first_word(model), PAD, (batch, length), generator=generator)
        end = torch.full((batch, 1), model.config.eos_token_id)
        loss = model(input_ids=torch.cat([words, end], 1), labels=torch.cat([words.flip(1), end], 1)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{model.config.model_type} reverses with a loss of {loss.item():.2f} a token")
    return model


def translation_numbers(model):
    start, end = model.config.decoder_start_token_id, model.config.eos_token_id
    generator = torch.Generator().manual_seed(2)
    sources, targets = (
        [[max(word, first_word(model)) for word in s] + [end] for s in random_sentences(generator, lengths, PAD)]
        for lengths in ((4, 9, 1, 6, 0), (6, 3, 11, 0, 2))
    )
    inputs = [[start] + target[:-1] for target in targets]
    arguments = [
        {"input_ids": torch.tensor([source]), "decoder_input_ids": torch.tensor([decoder_input])}
        for source, decoder_input in zip(sources, inputs)
    ]
    return ragged("source", sources) | golden(model, arguments, inputs, targets, smoothing=0.1)


def encoder_numbers(model):
    """Hidden states of sentences with two segments, the pooled ones, and the loss of random tokens for every token."""
    generator = torch.Generator().manual_seed(9)
    sentences = random_sentences(generator, (8, 2, 15, 30, 1), model.config.vocab_size)
    sentences = [[max(token, 3) for token in sentence] for sentence in sentences]
    segments = [[int(2 * i >= len(s)) for i in range(len(s))] for s in sentences]
    has_segments = getattr(model.config, "type_vocab_size", 1) > 1
    arguments = [
        {"input_ids": torch.tensor([s])} | ({"token_type_ids": torch.tensor([t])} if has_segments else {})
        for s, t in zip(sentences, segments)
    ]
    outputs = [model.base_model(**a) for a in arguments]
    numbers = ragged("source", sentences)
    numbers["hidden"] = torch.cat([output.last_hidden_state[0] for output in outputs]).detach()
    if has_segments:
        numbers["segments"] = torch.tensor(sum(segments, []), dtype=torch.int32)
    if getattr(outputs[0], "pooler_output", None) is not None:
        numbers["pooled"] = torch.cat([output.pooler_output for output in outputs]).detach()
    if isinstance(model, XLMRobertaModel):
        return numbers
    targets = random_sentences(generator, [len(s) for s in sentences], model.config.vocab_size)
    of_head = golden(model, arguments, [], targets, smoothing=0.0)
    return numbers | {key: value for key, value in of_head.items() if not key.startswith("input.")}


def language_model_numbers(model):
    generator = torch.Generator().manual_seed(3)
    sentences = random_sentences(generator, (8, 2, 15, 32, 5), model.config.vocab_size)
    inputs, targets = [s[:-1] for s in sentences], [s[1:] for s in sentences]
    return golden(model, [{"input_ids": torch.tensor([i])} for i in inputs], inputs, targets, smoothing=0.0)


def gpt2(activation, **changes):
    config = GPT2Config(
        vocab_size=40, n_positions=32, n_embd=16, n_layer=2, n_head=2, activation_function=activation,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0, attn_implementation="eager",
        **changes,
    )  # fmt: skip
    return randomise(GPT2LMHeadModel(config), torch.Generator().manual_seed(5))


def gpt_neox():
    return causal(
        GPTNeoXConfig, 6, hidden_size=16, num_attention_heads=2, intermediate_size=64, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        max_position_embeddings=32, use_parallel_residual=False,
    )  # fmt: skip


def causal(config, seed, **changes):
    """A random model of a decoder-only family."""
    tiny = {
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64, "bos_token_id": 0,
        "eos_token_id": 0, "pad_token_id": None,
    }  # fmt: skip
    if config is GPTNeoXConfig:
        del tiny["num_key_value_heads"]
    model = AutoModelForCausalLM.from_config(config(**(tiny | changes)), attn_implementation="eager")
    return randomise(model, torch.Generator().manual_seed(seed))


LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 16}  # fmt: skip
YARN_ROPE = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}


CAUSAL_MODELS = {
    "gpt2-tiny": lambda: gpt2("gelu_new"),
    "gpt2-gelu-tiny": lambda: gpt2("gelu"),
    "gpt2-scaled-tiny": lambda: gpt2("gelu_new", scale_attn_by_inverse_layer_idx=True, scale_attn_weights=False),
    "gpt_neox-tiny": gpt_neox,
    "gpt_neox-parallel-tiny": lambda: causal(
        GPTNeoXConfig, 21, num_attention_heads=2, attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}),
    "llama-tiny": lambda: causal(LlamaConfig, 22),
    "llama3-tiny": lambda: causal(
        LlamaConfig, 23, rope_parameters=LLAMA3_ROPE, tie_word_embeddings=True, eos_token_id=[0, 39]),
    "llama-yarn-tiny": lambda: causal(LlamaConfig, 24, rope_parameters=YARN_ROPE, attention_bias=True, mlp_bias=True),
    "llama-linear-tiny": lambda: causal(LlamaConfig, 25, rope_parameters=LINEAR_ROPE, head_dim=6),
    "mistral-tiny": lambda: causal(MistralConfig, 26, sliding_window=5),
    "qwen2-tiny": lambda: causal(Qwen2Config, 27, use_sliding_window=True, sliding_window=6, max_window_layers=1),
    "qwen3-tiny": lambda: causal(Qwen3Config, 28, head_dim=6, tie_word_embeddings=True),
    "gemma2-tiny": lambda: causal(
        Gemma2Config, 29, head_dim=6, sliding_window=5, query_pre_attn_scalar=9, attn_logit_softcapping=4.0,
        final_logit_softcapping=3.0),
}  # fmt: skip


def sequence_to_sequence(config, seed, steps=1500, **changes):
    """A random encoder-decoder that has learnt a little to reverse."""
    tiny = {"vocab_size": 50, "d_model": 16, "decoder_start_token_id": 2, "forced_eos_token_id": None}
    if config in (T5Config, MT5Config):
        tiny |= {"d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 4, "relative_attention_num_buckets": 8,
                 "relative_attention_max_distance": 12, "dropout_rate": 0.0, "decoder_start_token_id": 0}  # fmt: skip
        del tiny["forced_eos_token_id"]
    else:
        tiny |= {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 24,
                 "encoder_attention_heads": 2, "decoder_attention_heads": 4, "max_position_embeddings": 64,
                 "dropout": 0.0, "attention_dropout": 0.0, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0}  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForSeq2SeqLM.from_config(config(**(tiny | changes)), attn_implementation="eager")
    model = learn_to_reverse(randomise(model, generator), generator, steps)
    model.generation_config.bad_words_ids = [[model.config.pad_token_id]]
    return model


TRANSLATION_MODELS = {
    "marian-tiny": marian,
    "bart-tiny": lambda: sequence_to_sequence(BartConfig, 31, scale_embedding=True),
    "mbart-tiny": lambda: sequence_to_sequence(MBartConfig, 32, 600, forced_bos_token_id=7),
    "m2m_100-tiny": lambda: sequence_to_sequence(M2M100Config, 33),
    "t5-tiny": lambda: sequence_to_sequence(T5Config, 34, 300),
    "t5-gated-tiny": lambda: sequence_to_sequence(
        T5Config, 35, 450, feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_decoder_layers=1),
    "mt5-tiny": lambda: sequence_to_sequence(MT5Config, 36, 450, feed_forward_proj="gated-gelu"),
}  # fmt: skip


def encoder(model_class, config, seed, **changes):
    tiny = {"vocab_size": 40, "max_position_embeddings": 34}
    if config is DistilBertConfig:
        tiny |= {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "dropout": 0.0, "attention_dropout": 0.0}
    else:
        tiny |= {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
                 "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
    model = model_class._from_config(config(**(tiny | changes)), attn_implementation="eager")
    return randomise(model, torch.Generator().manual_seed(seed))


ENCODERS = {
    "bert-tiny": lambda: encoder(BertForPreTraining, BertConfig, 41),
    "roberta-tiny": lambda: encoder(RobertaForMaskedLM, RobertaConfig, 42, type_vocab_size=1, layer_norm_eps=1e-5),
    "xlm-roberta-tiny": lambda: encoder(XLMRobertaModel, XLMRobertaConfig, 43, type_vocab_size=1),
    "distilbert-tiny": lambda: encoder(DistilBertForMaskedLM, DistilBertConfig, 44),
}


def continuation(model, ids, **options):
    """What generate() adds to a prompt, or says to a source (without the start token, with the end)."""
    prompt = torch.tensor([ids])
    output = model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False, **options)[0]
    return output[1 if model.config.is_encoder_decoder else len(ids) :].tolist()


def log_probability(model, source, output, start):
    """Of the output of a translation model, the end included."""
    with torch.no_grad():
        inputs = torch.tensor([[start] + output[:-1]])
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=inputs).logits[0]
    return torch.log_softmax(logits.double(), dim=-1).gather(1, torch.tensor(output)[:, None]).sum().item()


MEANING = {
    "greedy": "the most probable token at each step",
    "beam4": "4 beams, hypotheses ranked by the sum of their log probabilities",
    "beam4_mean": "4 beams, hypotheses ranked by that sum over the number of their tokens, the end included",
}
SEARCHES = {
    "greedy": {"num_beams": 1},
    "beam4": {"num_beams": 4, "length_penalty": 0.0, "early_stopping": False},
    "beam4_mean": {"num_beams": 4, "length_penalty": 1.0, "early_stopping": False},
}


def write_generation(directory, name, cases, searches):
    text = {"made_with": f"transformers {transformers.__version__}"} | {s: MEANING[s] for s in searches}
    lines = json.dumps(text | {"cases": []}, indent=1)
    rows = ",\n  ".join(json.dumps(case) for case in cases)
    (directory / f"{name}-generation.json").write_text(lines.replace("[]", f"[\n  {rows}\n ]") + "\n")


def agreed(directory, name, model, inputs, searches):
    """The model in float64 and what it makes of the inputs under each search; float32 must say the same."""
    single = type(model).from_pretrained(directory / name, attn_implementation="eager").eval()
    roughly = [{s: continuation(single, ids, **options) for s, options in searches.items()} for ids in inputs]
    with double_everywhere():
        exact = in_float64(model, directory / name)
        outputs = [{s: continuation(exact, ids, **options) for s, options in searches.items()} for ids in inputs]
    assert outputs == roughly, "float32 and float64 disagree: choose another seed"
    return exact, outputs


def translations(directory, name, model, sources):
    """Greedy and beam-search outputs; refuses models whose outputs never end."""
    searches = {search: options | {"max_length": 40} for search, options in SEARCHES.items()}
    exact, outputs = agreed(directory, name, model, sources, searches)
    start, end = model.config.decoder_start_token_id, model.config.eos_token_id
    cases = []
    for source, of_source in zip(sources, outputs):
        case = {"source": source}
        for search, ids in of_source.items():
            assert ids[-1] == end and len(ids) < 38, "the output does not end: choose another seed"
            case[search] = {"ids": ids, "log_probability": round(log_probability(exact, source, ids, start), 6)}
        cases.append(case)
    write_generation(directory, name, cases, SEARCHES)
    differing = sum(case["beam4"]["ids"] != case["greedy"]["ids"] for case in cases)
    print(f"{name}: {differing} of {len(cases)} beam outputs differ from greedy ones, "
          f"lengths {sorted(len(case['beam4']['ids']) for case in cases)}, "
          f"{sum(case['beam4']['ids'] != case['beam4_mean']['ids'] for case in cases)} of them by length normalisation")


def log_probability_of_text(model, prompt, output):
    """Of what a language model writes behind a prompt."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + output[:-1]])).logits[0, len(prompt) - 1 :]
    return torch.log_softmax(logits.double(), dim=-1).gather(1, torch.tensor(output)[:, None]).sum().item()


def texts(directory, name, model):
    """Greedy and beam-search continuations of 20 prompts."""
    prompts = random_sentences(torch.Generator().manual_seed(8), [1 + i for i in range(20)], 40)
    searches = {search: SEARCHES[search] | {"max_new_tokens": 12} for search in ("greedy", "beam4_mean")}
    exact, outputs = agreed(directory, name, model, prompts, searches)
    cases = []
    for prompt, output in zip(prompts, outputs):
        ids = output["beam4_mean"]
        log_probability = round(log_probability_of_text(exact, prompt, ids), 6)
        cases.append({"prompt": prompt} | output | {"beam4_mean": {"ids": ids, "log_probability": log_probability}})
    write_generation(directory, name, cases, searches)
    differing = sum(case["beam4_mean"]["ids"] != case["greedy"] for case in cases)
    print(f"{name}: {differing} of {len(cases)} beam outputs differ from greedy ones")


def make_translation(directory, name):
    model = TRANSLATION_MODELS[name]()
    write(directory, name, model, translation_numbers)
    lengths = [1 + i % 8 for i in range(20)]
    sources = [
        [max(word, first_word(model)) for word in s] + [model.config.eos_token_id]
        for s in random_sentences(torch.Generator().manual_seed(7), lengths, PAD)
    ]
    translations(directory, name, model, sources)


def make_encoder(directory, name):
    write(directory, name, ENCODERS[name](), encoder_numbers)


def make_causal(directory, name):
    model = CAUSAL_MODELS[name]()
    write(directory, name, model, language_model_numbers)
    texts(directory, name, model)


def main():
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "tests" / "data"
    directory.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    makers = {name: make_translation for name in TRANSLATION_MODELS}
    makers |= {name: make_causal for name in CAUSAL_MODELS} | {name: make_encoder for name in ENCODERS}
    for name in sys.argv[2:] or makers:
        makers[name](directory, name)


if __name__ == "__main__":
    main()
