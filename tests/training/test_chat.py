import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from tests.training import tiny
from training.chat import change_template, decode_answer, encode_answer, encode_prompt, prepare_tokenizer


@pytest.fixture
def model():
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=260, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    )


def test_a_template_is_given_and_every_turn_ends_with_eos(model):
    tokenizer = tiny.tokenizer()
    prepare_tokenizer(tokenizer, model)
    messages = [*tiny.user("Hi"), *tiny.assistant("Yes?"), *tiny.user("Why")]
    expected = (
        "<|im_start|>user\nHi<|endoftext|>\n<|im_start|>assistant\nYes?<|endoftext|>\n"
        "<|im_start|>user\nWhy<|endoftext|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(encode_prompt(tokenizer, messages)) == expected
    markers = [
        encode_prompt(tokenizer, messages).count(tokenizer.convert_tokens_to_ids(t))
        for t in ("<|im_start|>", "<|endoftext|>")
    ]
    assert markers == [4, 3]  # tokens of their own, not characters


def test_a_tokenizer_without_markers_gets_plain_text(model):
    tokenizer = tiny.tokenizer()
    plain = type(tokenizer)(
        tokenizer_object=_without_markers(tokenizer), eos_token="<|endoftext|>", pad_token="<|pad|>"
    )
    prepare_tokenizer(plain, model)
    assert plain.decode(encode_prompt(plain, tiny.user("Hi"))) == "User: Hi<|endoftext|>\nAssistant: "


def _without_markers(tokenizer):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {t: i for t, i in tokenizer.get_vocab().items() if not t.startswith("<|im_")}
    inner = Tokenizer(models.BPE(vocabulary, merges=[]))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return inner


def test_an_existing_template_is_kept_and_the_answer_ends_with_eos_whatever_the_template_puts_behind(model):
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m['content'] }}]{{ eos_token }}\n{% endfor %}"
    prepare_tokenizer(tokenizer, model)
    assert tokenizer.decode(encode_prompt(tokenizer, tiny.user("Hi"))) == "[Hi]<|endoftext|>\n"
    answer = encode_answer(tokenizer, "Ja")
    assert answer[-1] == tokenizer.eos_token_id and answer.count(tokenizer.eos_token_id) == 1
    assert decode_answer(tokenizer, answer) == "Ja"


def test_another_template_adds_no_system_prompt(model):
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "Made by somebody.\n{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    prepare_tokenizer(tokenizer, model)
    change_template(tokenizer, "chatml")
    shown = tokenizer.decode(encode_prompt(tokenizer, tiny.user("Hi")))
    assert shown == "<|im_start|>user\nHi<|endoftext|>\n<|im_start|>assistant\n"
    change_template(tokenizer, "plain")
    assert tokenizer.decode(encode_prompt(tokenizer, tiny.user("Hi"))) == "User: Hi<|endoftext|>\nAssistant: "


def test_chatml_needs_its_markers_as_tokens():
    whole = tiny.tokenizer()
    plain = type(whole)(tokenizer_object=_without_markers(whole), eos_token="<|endoftext|>", pad_token="<|pad|>")
    with pytest.raises(ValueError, match="does not know ChatML"):
        change_template(plain, "chatml")


def test_padding_is_never_eos(model):
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = tokenizer.eos_token  # as SmolLM2 comes
    prepare_tokenizer(tokenizer, model)
    assert tokenizer.pad_token == "<|pad|>" and tokenizer.padding_side == "left"
    assert model.config.pad_token_id == tokenizer.pad_token_id != model.config.eos_token_id == tokenizer.eos_token_id


def test_a_pad_token_is_added_where_there_is_none_to_take_and_the_embeddings_grow(model):
    tokenizer = tiny.tokenizer()
    bare = type(tokenizer)(tokenizer_object=_bare(tokenizer), eos_token="<|im_end|>")
    prepare_tokenizer(bare, model)
    assert bare.pad_token_id == 260 and model.get_input_embeddings().weight.shape[0] == 261


def _bare(tokenizer):
    from tokenizers import Tokenizer, models

    names = {"<|endoftext|>": "x1", "<|pad|>": "x2"}
    return Tokenizer(models.BPE({names.get(t, t): i for t, i in tokenizer.get_vocab().items()}, merges=[]))


def test_a_tokenizer_without_eos_is_refused(model):
    tokenizer = tiny.tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        prepare_tokenizer(tokenizer, model)
