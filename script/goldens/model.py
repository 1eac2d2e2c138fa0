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
    gradient.PARAMETER            f64, of that loss
and for the translation model
  marian-tiny-generation.json     greedy and beam outputs of 20 sources, with scores.

Everything is computed in float64, one sequence at a time (so without padding), from the float32 weights that are saved.

usage: $(bench/peers/setup) script/goldens/model.py [OUTPUT_DIRECTORY]
"""

import json
import math
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, MarianConfig, MarianMTModel

PAD, EOS = 49, 0


def randomise(model, generator):
    """Gives every parameter, biases and norms included, values that matter, so that no mistake in one stays unseen."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("embed_positions.weight"):
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm_weight = parameter.dim() == 1 and ("norm" in name or ".ln_" in name)
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


class ExactRotary(torch.nn.Module):
    """Cosines and sines of rotary positions in float64; transformers computes them in float32 whatever the model's type."""

    def __init__(self, width, base):
        super().__init__()
        self.frequencies = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)

    def forward(self, x, position_ids):
        angles = (position_ids[..., None] * self.frequencies).repeat(1, 1, 2)
        return angles.cos(), angles.sin()


def in_float64(model):
    """The same model in float64, without the roundings and omissions that transformers has there."""
    model = model.double()
    for module in model.modules():
        # Else the gradient would leave out the decoder's start token, which is the padding token.
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    if isinstance(model, MarianMTModel):
        for stack in (model.model.encoder, model.model.decoder):
            table = stack.embed_positions.weight
            exact = exact_sinusoids(*table.shape)
            assert (table - exact).abs().max() < 1e-6
            table.data.copy_(exact)
    if isinstance(model, GPTNeoXForCausalLM):
        width = model.config.hidden_size // model.config.num_attention_heads
        model.gpt_neox.rotary_emb = ExactRotary(width, model.config.rope_parameters["rope_theta"])
    return model


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


def golden(model, arguments, inputs, targets, smoothing):
    """Logits, loss and gradients of a batch; arguments[i] are the keyword arguments of sequence i."""
    logits = torch.cat([model(**a).logits[0] for a in arguments])
    flat_targets = torch.tensor([i for sequence in targets for i in sequence])
    loss = smoothed_cross_entropy(logits, flat_targets, smoothing)
    model.zero_grad()  # a model that was trained a little still has its last gradients
    loss.backward()
    gradients = {
        f"gradient.{name}": parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    return ragged("input", inputs) | gradients | {
        "target.ids": flat_targets.to(torch.int32),
        "logits": logits.detach().float(),
        "label_smoothing": torch.tensor([smoothing], dtype=torch.float64),
        "loss": loss.detach()[None],
    }


def write(directory, name, model, numbers_of):
    """Saves the model, then its golden numbers."""
    model.save_pretrained(directory / name)
    numbers = numbers_of(in_float64(model))
    save_file({key: value.contiguous() for key, value in numbers.items()}, directory / f"{name}-golden.safetensors")
    print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters, loss {numbers['loss'].item():.6f}")


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


def learn_to_reverse(model, generator, steps=900, batch=16):
    """Trains a little on sentences read backwards: enough for outputs that vary and end, too little to be sure of them."""
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        length = 1 + step % 8
        words = torch.randint(1, PAD, (batch, length), generator=generator)
        end = torch.full((batch, 1), EOS)
        loss = model(input_ids=torch.cat([words, end], 1), labels=torch.cat([words.flip(1), end], 1)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"marian-tiny reverses with a loss of {loss.item():.2f} a token")
    return model


def marian_numbers(model):
    generator = torch.Generator().manual_seed(2)
    sources = [s + [EOS] for s in random_sentences(generator, (4, 9, 1, 6, 0), PAD)]
    targets = [s + [EOS] for s in random_sentences(generator, (6, 3, 11, 0, 2), PAD)]
    inputs = [[PAD] + target[:-1] for target in targets]
    arguments = [
        {"input_ids": torch.tensor([source]), "decoder_input_ids": torch.tensor([decoder_input])}
        for source, decoder_input in zip(sources, inputs)
    ]
    return ragged("source", sources) | golden(model, arguments, inputs, targets, smoothing=0.1)


def language_model_numbers(model):
    generator = torch.Generator().manual_seed(3)
    sentences = random_sentences(generator, (8, 2, 15, 32, 5), model.config.vocab_size)
    inputs, targets = [s[:-1] for s in sentences], [s[1:] for s in sentences]
    return golden(model, [{"input_ids": torch.tensor([i])} for i in inputs], inputs, targets, smoothing=0.0)


def gpt2(activation):
    config = GPT2Config(
        vocab_size=40, n_positions=32, n_embd=16, n_layer=2, n_head=2, activation_function=activation,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    return randomise(GPT2LMHeadModel(config), torch.Generator().manual_seed(5))


def gpt_neox():
    config = GPTNeoXConfig(
        vocab_size=40, max_position_embeddings=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, rotary_pct=1.0, use_parallel_residual=False, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    return randomise(GPTNeoXForCausalLM(config), torch.Generator().manual_seed(6))


def generate(model, source, **options):
    """Output ids (without the start token, with the end) and the sum of their log probabilities."""
    ids = torch.tensor([source])
    output = model.generate(input_ids=ids, do_sample=False, max_length=40, **options)[0]
    with torch.no_grad():
        logits = model(input_ids=ids, decoder_input_ids=output[None, :-1]).logits[0]
    log_p = torch.log_softmax(logits.double(), dim=-1).gather(1, output[1:, None])[:, 0]
    return output[1:].tolist(), log_p.sum().item()


def generation(directory):
    """Greedy and beam-search outputs; refuses models whose outputs hang on rounding or never end."""
    searches = {
        "greedy": {"num_beams": 1},
        "beam4": {"num_beams": 4, "length_penalty": 0.0, "early_stopping": False},
        "beam4_mean": {"num_beams": 4, "length_penalty": 1.0, "early_stopping": False},
    }
    single = MarianMTModel.from_pretrained(directory / "marian-tiny", attn_implementation="eager").eval()
    model = in_float64(MarianMTModel.from_pretrained(directory / "marian-tiny", attn_implementation="eager").eval())
    lengths = [1 + i % 8 for i in range(20)]
    cases = []
    for source in (s + [EOS] for s in random_sentences(torch.Generator().manual_seed(7), lengths, PAD)):
        case = {"source": source}
        for name, options in searches.items():
            ids, log_p = generate(model, source, **options)
            assert ids == generate(single, source, **options)[0], "float32 and float64 disagree: choose another seed"
            assert ids[-1] == EOS and len(ids) < 38, "the output does not end: choose another seed"
            case[name] = {"ids": ids, "log_probability": round(log_p, 6)}
        cases.append(case)
    text = {
        "made_with": f"transformers {transformers.__version__}",
        "greedy": "the most probable token at each step",
        "beam4": "4 beams, hypotheses ranked by the sum of their log probabilities",
        "beam4_mean": "4 beams, hypotheses ranked by that sum over the number of their tokens, the end included",
        "cases": cases,
    }
    lines = json.dumps(text | {"cases": []}, indent=1)
    rows = ",\n  ".join(json.dumps(case) for case in cases)
    (directory / "marian-tiny-generation.json").write_text(lines.replace("[]", f"[\n  {rows}\n ]") + "\n")
    differing = sum(case["beam4"]["ids"] != case["greedy"]["ids"] for case in cases)
    print(f"generation: {differing} of {len(cases)} beam outputs differ from greedy ones, "
          f"lengths {sorted(len(case['beam4']['ids']) for case in cases)}, "
          f"{sum(case['beam4']['ids'] != case['beam4_mean']['ids'] for case in cases)} of them by length normalisation")


def main():
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "tests" / "data"
    directory.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    write(directory, "marian-tiny", marian(), marian_numbers)
    write(directory, "gpt2-tiny", gpt2("gelu_new"), language_model_numbers)
    write(directory, "gpt2-gelu-tiny", gpt2("gelu"), language_model_numbers)
    write(directory, "gpt_neox-tiny", gpt_neox(), language_model_numbers)
    generation(directory)


if __name__ == "__main__":
    main()
