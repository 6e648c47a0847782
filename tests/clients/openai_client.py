"""The official OpenAI client against a running server: each test_* below, one line of outcome each.

    build/clients/openai/bin/python tests/clients/openai_client.py http://127.0.0.1:PORT/v1 KEY

The server serves smollm2 with -c 512 and asks for KEY. Exits 1 where one failed."""
import asyncio
import sys
import traceback

import openai

URL, KEY = sys.argv[1:3]
client = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)
MODEL = "smollm2"
QUESTION = [{"role": "user", "content": "What is an aquifer?"}]
N = 8
GREEDY = {"model": MODEL, "temperature": 0, "max_tokens": N}


def refused(kind, call, **arguments):
    """The error of a call that must fail with this class."""
    try:
        call(**arguments)
    except kind as e:
        return e
    raise AssertionError(f"no {kind.__name__} for {arguments}")


def test_models():
    listed = list(client.models.list())
    assert [m.id for m in listed] == [MODEL] and listed[0].object == "model", listed
    assert client.models.retrieve(MODEL).owned_by == "akvifer"
    e = refused(openai.NotFoundError, client.models.retrieve, model="gpt-7")
    assert e.param == "model" and e.type == "not_found_error", e.body


def test_chat():
    answer = client.chat.completions.create(messages=QUESTION, **GREEDY)
    choice = answer.choices[0]
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason == "length" and answer.usage.completion_tokens == N
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + N
    assert answer.model == MODEL and answer.system_fingerprint.startswith("akvifer-")
    parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]}]
    again = client.chat.completions.create(messages=parts, **GREEDY)
    assert again.choices[0].message.content == choice.message.content
    assert again.usage.prompt_tokens_details.cached_tokens == answer.usage.prompt_tokens - 1


def test_streamed_chat():
    whole = client.chat.completions.create(messages=QUESTION, **GREEDY)
    stream = client.chat.completions.create(
        messages=QUESTION, stream=True, stream_options={"include_usage": True}, **GREEDY)
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {c.id for c in chunks} == {chunks[0].id}
    assert all(c.usage is None for c in chunks[:-1]) and chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == N
    text = "".join(c.choices[0].delta.content or "" for c in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "length"


def test_stream_helper():
    with client.chat.completions.stream(messages=QUESTION, model=MODEL, temperature=0, stop=[" "]) as stream:
        text = "".join(e.delta for e in stream if e.type == "content.delta")
        assert text and stream.get_final_completion().choices[0].message.content == text


def test_a_stream_can_be_left():
    stream = client.chat.completions.create(
        messages=QUESTION, stream=True, model=MODEL, max_tokens=400, extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    assert client.chat.completions.create(messages=QUESTION, **GREEDY).choices[0].message.content


def test_n():
    asked = dict(GREEDY, temperature=1, seed=7, n=3)
    answer = client.chat.completions.create(messages=QUESTION, **asked)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    texts = [c.message.content for c in answer.choices]
    assert len(set(texts)) == 3 and answer.usage.completion_tokens == sum(
        len(client.chat.completions.create(messages=QUESTION, logprobs=True, **dict(asked, n=1, seed=7 + i))
            .choices[0].logprobs.content) for i in range(3))
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(messages=QUESTION, stream=True, **asked):
        for c in chunk.choices:
            streamed[c.index] += c.delta.content or ""
    assert streamed == texts, (streamed, texts)


def test_stop():
    full = client.completions.create(prompt="1, 2, 3, 4,", **GREEDY).choices[0].text
    word = full[len(full) // 2:][:2]
    cut = client.completions.create(prompt="1, 2, 3, 4,", stop=[word, "never"], **GREEDY).choices[0]
    assert cut.finish_reason == "stop" and cut.text == full[:full.index(word)], (full, cut)
    one = client.completions.create(prompt="1, 2, 3, 4,", stop=word, **GREEDY).choices[0]
    assert one.text == cut.text


def test_seed():
    def text(seed):
        return client.chat.completions.create(
            messages=QUESTION, model=MODEL, max_tokens=N, temperature=1, seed=seed).choices[0].message.content
    assert text(1) == text(1) and len({text(s) for s in range(1, 5)}) > 1


def test_logprobs():
    answer = client.chat.completions.create(messages=QUESTION, logprobs=True, top_logprobs=4, **GREEDY)
    content = answer.choices[0].logprobs.content
    assert len(content) == N and all(len(t.top_logprobs) == 4 for t in content)
    assert all(t.logprob <= 0 and t.top_logprobs[0].token == t.token for t in content)
    spelled = b"".join(bytes(t.bytes) for t in content)
    assert spelled.decode(errors="ignore").startswith(answer.choices[0].message.content[:8])
    text = client.completions.create(prompt="The sea", logprobs=2, **GREEDY).choices[0].logprobs
    assert len(text.tokens) == len(text.token_logprobs) == len(text.text_offset) == N
    assert all(len(top) >= 2 for top in text.top_logprobs) and text.text_offset[0] == 0


def test_logit_bias():
    first = client.completions.create(
        prompt="The sea", **GREEDY, extra_body={"return_token_ids": True}).choices[0].token_ids[0]
    other = client.completions.create(
        prompt="The sea", logit_bias={str(first): -100}, **GREEDY, extra_body={"return_token_ids": True})
    assert first not in other.choices[0].token_ids


def test_prompts_of_every_form():
    import json
    import urllib.request
    body = json.dumps({"content": "The weight of water"}).encode()
    asked = urllib.request.Request(URL.replace("/v1", "/tokenize"), body, {"Authorization": f"Bearer {KEY}"})
    ids = json.load(urllib.request.urlopen(asked))["tokens"]
    by_text = client.completions.create(prompt="The weight of water", **GREEDY)
    by_ids = client.completions.create(prompt=ids, **GREEDY)
    both = client.completions.create(prompt=["The weight of water", "The sea"], **GREEDY)
    lists = client.completions.create(prompt=[ids, ids[:2]], **GREEDY)
    texts = {a.choices[0].text for a in (by_text, by_ids, both, lists)}
    assert len(texts) == 1 and len(both.choices) == len(lists.choices) == 2, texts
    assert by_ids.usage.prompt_tokens == len(ids)


def test_lm_evaluation_harness():
    """What local-completions sends, and what it does with the answer (its parse_logprobs)."""
    requests = [([504, 3575, 282, 4649], 2), ([504, 3575, 6330], 1)]
    answer = client.completions.create(
        model=MODEL, prompt=[ids for ids, _ in requests], temperature=0, max_tokens=1, logprobs=1, seed=1234,
        echo=True)
    choices = sorted(answer.choices, key=lambda c: c.index)
    for (ids, begin), choice in zip(requests, choices):
        logprobs = choice.logprobs
        assert len(logprobs.tokens) == len(ids) + 1 and logprobs.token_logprobs[0] is None
        asked = logprobs.token_logprobs[begin:-1]
        assert len(asked) == len(ids) - begin and sum(asked) < 0
        for token, top in zip(logprobs.tokens[begin:-1], logprobs.top_logprobs[begin:-1]):
            assert token in top and max(top.values()) <= 0
        assert choice.text.startswith("".join(logprobs.tokens[:len(ids)]))
    repeated = client.completions.create(
        model=MODEL, prompt=[requests[0][0]], temperature=0, max_tokens=1, logprobs=1, echo=True)
    assert repeated.choices[0].logprobs.token_logprobs == choices[0].logprobs.token_logprobs


def test_errors():
    chat, text = client.chat.completions.create, client.completions.create
    e = refused(openai.BadRequestError, text, model=MODEL, prompt=list(range(600)))
    assert e.code == "context_length_exceeded" and e.body["n_prompt_tokens"] == 600 and e.body["n_ctx"] == 512
    e = refused(openai.BadRequestError, chat, model=MODEL, messages=QUESTION, temperature=300)
    assert e.param == "temperature" and e.type == "invalid_request_error" and "100" in e.message
    e = refused(openai.BadRequestError, chat, model=MODEL, messages=[])
    assert e.param == "messages"
    e = refused(openai.NotFoundError, chat, model="gpt-7", messages=QUESTION)
    assert e.param == "model"
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    e = refused(openai.InternalServerError, chat, model=MODEL, messages=QUESTION, tools=[tool])
    assert e.status_code == 501 and e.param == "tools" and e.type == "not_supported_error"
    e = refused(openai.InternalServerError, client.embeddings.create, model=MODEL, input="a")
    assert e.status_code == 501
    e = refused(openai.InternalServerError, client.responses.create, model=MODEL, input="a")
    assert e.status_code == 501
    stranger = openai.OpenAI(base_url=URL, api_key="wrong", max_retries=0)
    e = refused(openai.AuthenticationError, stranger.models.list)
    assert e.code == "invalid_api_key" and e.status_code == 401


def test_extras_of_vllm():
    extra = {"top_k": 1, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": True, "min_tokens": 3,
             "return_token_ids": True, "cache_salt": "extras", "add_generation_prompt": True}
    answer = client.chat.completions.create(messages=QUESTION, model=MODEL, max_tokens=8, seed=1, extra_body=extra)
    ids = answer.choices[0].token_ids
    assert len(ids) == 8 and answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.akvifer["cache_miss"] == "salt", answer.akvifer  # this tenant's, but not under this salt
    stopped = client.chat.completions.create(
        messages=QUESTION, model=MODEL, max_tokens=8, seed=1,
        extra_body=dict(extra, stop_token_ids=[ids[4]], min_tokens=0)).choices[0]
    assert stopped.finish_reason == "stop" and stopped.token_ids == ids[:ids.index(ids[4])]
    e = refused(openai.BadRequestError, client.chat.completions.create, messages=QUESTION, model=MODEL,
                extra_body={"top_k": "many"})
    assert e.param == "top_k"


def test_many_at_once():
    async def ask():
        async with openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as many:
            return await asyncio.gather(*(many.completions.create(prompt=f"{i} and", **GREEDY) for i in range(6)))
    together = [a.choices[0].text for a in asyncio.run(ask())]
    assert together == [client.completions.create(prompt=f"{i} and", **GREEDY).choices[0].text for i in range(6)]


def main():
    failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_"):
            continue
        try:
            test()
            print("ok", name)
        except Exception:  # whatever it is, the other tests run
            failed += 1
            print("FAILED", name)
            traceback.print_exc(file=sys.stdout)
    sys.exit(failed > 0)


main()
