"""One way of turning messages into tokens, so that SFT, the reward model, PPO and sampling agree to the token.

A dialogue is the prompt as the chat template renders it for generation, then the answer, then EOS: the token that
generation stops at is the last one that is trained and the one at which the reward is read. (Templates often put a
newline behind it.)

Tokenizers and models are passed in; nothing heavy is imported.
"""

from __future__ import annotations

from typing import Any

Message = dict[str, str]

# Every turn ends with EOS. Markers are used where the tokenizer has them as tokens of their own.
CHATML_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}"
)


TEMPLATES = {"chatml": CHATML_TEMPLATE, "plain": PLAIN_TEMPLATE}


def change_template(tokenizer: Any, name: str) -> None:
    """Write dialogues by another template, of `TEMPLATES`: these add no system prompt that nobody gave.

    Raises ValueError when the template's markers are no tokens of this tokenizer: they would be read as letters.
    """
    if name == "chatml" and not {"<|im_start|>", tokenizer.eos_token} <= set(tokenizer.get_vocab()):
        raise ValueError("Chat template: this model does not know ChatML's <|im_start|>. Keep its own, or take plain.")
    tokenizer.chat_template = TEMPLATES[name]


def prepare_tokenizer(tokenizer: Any, model: Any) -> None:
    """Give the tokenizer what dialogues need: EOS, another token for padding, a chat template; and tell the model.

    Padding with EOS would mask the very token that ends an answer, so a separate one is found or, at last, added
    (the embeddings grow by a row then).
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "The model's tokenizer has no end-of-sequence token; set eos_token in its tokenizer_config.json."
        )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        spare = [
            t
            for t in ("<|pad|>", "<pad>", "[PAD]", "<|endoftext|>", tokenizer.unk_token)
            if t and t != tokenizer.eos_token
        ]
        found = [t for t in spare if t in tokenizer.get_vocab()]
        tokenizer.add_special_tokens({"pad_token": found[0] if found else "<|pad|>"})
    tokenizer.padding_side = "left"
    if not tokenizer.chat_template:
        tokenizer.chat_template = CHATML_TEMPLATE if "<|im_start|>" in tokenizer.get_vocab() else PLAIN_TEMPLATE
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = tokenizer.eos_token_id


def encode_prompt(tokenizer: Any, messages: list[Message]) -> list[int]:
    """Token ids of the messages and the header of the assistant's turn."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encode_answer(tokenizer: Any, text: str) -> list[int]:
    """Token ids of an answer, ending with EOS."""
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def decode_answer(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True)
