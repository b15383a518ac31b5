"""Requests to a real Triton: what the tokenizer and the ONNX Runtime backend answer."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny_ensemble import MAX_BATCH, MAX_LENGTH, TABLE, embed, ids_of, text_of_words
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.server


def texts(*rows):
    return np.array([[row] for row in rows], dtype=object)


def statistics(server, model):
    with urllib.request.urlopen(f"{server.http_url}/v2/models/{model}/stats") as response:  # noqa: S310
        return json.load(response)["model_stats"][0]


def test_one_text(ask):
    answer = ask("tiny", text=texts("w1 w2 w3"))
    assert answer["embedding"].dtype == np.float32
    np.testing.assert_allclose(answer["embedding"], [embed("w1 w2 w3")], rtol=1e-5, atol=1e-6)


def test_texts_of_different_length_at_once_are_joined_and_answered_each(tiny_server, batching, ask):
    wanted = [text_of_words(count % 13, seed=count) for count in range(200)]
    before = statistics(tiny_server, batching("tiny"))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: ask("tiny", text=texts(text))["embedding"], wanted))
    after = statistics(tiny_server, batching("tiny"))
    np.testing.assert_allclose(np.concatenate(answers), [embed(text) for text in wanted], rtol=1e-5, atol=1e-5)
    assert after["inference_count"] - before["inference_count"] == 200
    assert after["execution_count"] - before["execution_count"] < 200


def test_several_rows_keep_their_order(ask):
    rows = [text_of_words(count) for count in (12, 0, 3, 7, 1, 14, 2, 9)]
    answer = ask("tiny", text=texts(*rows))["embedding"]
    np.testing.assert_allclose(answer, [embed(row) for row in rows], rtol=1e-5, atol=1e-5)


def test_rows_of_many_requests_at_once_keep_their_order(ask):
    requests = [[text_of_words((seed * 5 + row * 3) % 14, seed) for row in range(seed % 4 + 1)] for seed in range(60)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda rows: ask("tiny", text=texts(*rows))["embedding"], requests))
    for rows, answer in zip(requests, answers, strict=True):
        np.testing.assert_allclose(answer, [embed(row) for row in rows], rtol=1e-5, atol=1e-5)


def test_rows_padded_by_the_client_give_the_same_answers(ask):
    rows = [ids_of("w1"), ids_of("w4 w5 w6 w7"), ids_of("")]
    ids, mask = np.zeros((3, MAX_LENGTH), np.int64), np.zeros((3, MAX_LENGTH), np.int64)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    answer = ask("tiny_encoder", input_ids=ids, attention_mask=mask)["embedding_output"]
    np.testing.assert_allclose(answer, [TABLE[row].mean(axis=0) for row in rows], rtol=1e-5, atol=1e-5)


def test_a_hole_in_a_mask_is_not_an_end(ask):
    ids, mask = np.array([[5, 6, 7, 8, 0]]), np.array([[1, 0, 1, 1, 0]])
    answer = ask("tiny_encoder", input_ids=ids, attention_mask=mask)["embedding_output"]
    np.testing.assert_allclose(answer, [TABLE[[5, 7, 8]].mean(axis=0)], rtol=1e-5)


def pair_of(left, right):
    return TABLE[ids_of(left)].mean(axis=0) - TABLE[ids_of(right)].mean(axis=0)


def test_two_texts_of_different_length_at_once_are_joined_and_answered_each(tiny_server, batching, ask):
    """Two ragged axes: neither side's length says anything of the other's."""
    wanted = [(text_of_words(seed * 5 % 14, seed), text_of_words(seed * 3 % 11, seed + 500)) for seed in range(200)]
    before = statistics(tiny_server, batching("pairs"))
    with ThreadPoolExecutor(16) as pool:
        sent = pool.map(lambda pair: ask("pairs", text=texts(pair[0]), text_pair=texts(pair[1]))["embedding"], wanted)
        answers = np.concatenate(list(sent))
    after = statistics(tiny_server, batching("pairs"))
    np.testing.assert_allclose(answers, [pair_of(*pair) for pair in wanted], rtol=1e-5, atol=1e-5)
    assert after["inference_count"] - before["inference_count"] == 200
    assert after["execution_count"] - before["execution_count"] < 200


def test_rows_of_two_texts_keep_their_order(ask):
    left = [text_of_words(count) for count in (12, 0, 3, 7, 1, 14, 2, 9)]
    right = [text_of_words(count, 9) for count in (1, 9, 14, 0, 7, 2, 3, 12)]
    answer = ask("pairs", text=texts(*left), text_pair=texts(*right))["embedding"]
    np.testing.assert_allclose(answer, list(map(pair_of, left, right)), rtol=1e-5, atol=1e-5)


def test_two_texts_are_padded_apart(ask):
    answer = ask("pairs_tokenizer", text=texts("w0", "w1 w2"), text_pair=texts("w3 w4 w5", ""))
    assert answer["left_input_ids"].tolist() == [[2, 4, 3, 0], [2, 5, 6, 3]]
    assert answer["left_attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert answer["right_input_ids"].tolist() == [[2, 7, 8, 9, 3], [2, 3, 0, 0, 0]]
    assert answer["right_attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]


def test_each_sides_padding_is_cut_by_its_own_mask(ask):
    """Wider than needed on both sides, by different amounts; what stands at the padding must not show."""
    rows = [(ids_of("w1"), ids_of("w4 w5 w6 w7")), (ids_of("w8 w9 w3"), ids_of(""))]
    arrays = {}
    for side, name in enumerate(("left", "right")):
        ids, mask = np.full((2, 16 - 3 * side), 7, np.int64), np.zeros((2, 16 - 3 * side), np.int64)
        for row, pair in enumerate(rows):
            ids[row, : len(pair[side])], mask[row, : len(pair[side])] = pair[side], 1
        arrays |= {f"{name}_input_ids": ids, f"{name}_attention_mask": mask}
    answer = ask("pairs_encoder", **arrays)["embedding_output"]
    expected = [TABLE[left].mean(axis=0) - TABLE[right].mean(axis=0) for left, right in rows]
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)


def test_texts_that_arent_as_many_as_their_pairs_are_refused(ask):
    with pytest.raises(InferenceServerException) as caught:
        ask("pairs", text=texts("w1", "w2"), text_pair=texts("w1"))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_tokens_are_padded_inside_a_request_only(ask):
    answer = ask("tiny_tokenizer", text=texts("w0", "w1 w2"))
    assert answer["input_ids"].tolist() == [[2, 4, 3, 0], [2, 5, 6, 3]]
    assert answer["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_empty_text_is_its_special_tokens(ask):
    assert ask("tiny_tokenizer", text=texts(""))["input_ids"].tolist() == [[2, 3]]
    np.testing.assert_allclose(ask("tiny", text=texts(""))["embedding"], [TABLE[[2, 3]].mean(axis=0)], rtol=1e-5)


def test_long_texts_are_truncated_and_counted_in_the_log(tiny_server, batching, ask):
    long = text_of_words(40)
    answer = ask("tiny_tokenizer", text=texts(long, "w1", long))
    assert answer["input_ids"].shape == (3, MAX_LENGTH)
    assert answer["input_ids"][0].tolist() == ids_of(long)
    ask("tiny", text=texts(long))
    log = tiny_server.log.read_text()
    # In one process the ensemble has a tokenizer of its own.
    total = 1 if batching("tiny") == "tiny" else 3
    assert f"tiny_tokenizer: 2 of 3 texts truncated to {MAX_LENGTH} tokens (2 since start)" in log
    assert f"tiny_tokenizer: 1 of 1 texts truncated to {MAX_LENGTH} tokens ({total} since start)" in log


def test_a_text_of_exactly_the_maximum_is_not_counted(tiny_server, ask):
    before = tiny_server.log.read_text().count("truncated")
    assert ask("tiny_tokenizer", text=texts(text_of_words(MAX_LENGTH - 2)))["input_ids"].shape == (1, MAX_LENGTH)
    assert tiny_server.log.read_text().count("truncated") == before


def test_invalid_utf8_fails_its_own_request_alone(ask):
    with ThreadPoolExecutor(8) as pool:
        good = [pool.submit(ask, "tiny", text=texts(f"w{number}")) for number in range(30)]
        bad = [pool.submit(ask, "tiny", text=texts(b"w1", b"w2 \xff")) for _ in range(5)]
    for number, future in enumerate(good):
        np.testing.assert_allclose(future.result()["embedding"], [embed(f"w{number}")], rtol=1e-5, atol=1e-6)
    for future in bad:
        with pytest.raises(InferenceServerException) as caught:
            future.result()
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        assert "text in row 1 isn't valid UTF-8: byte 3 is 0xff" in caught.value.message()


def test_a_batch_over_the_maximum_is_an_invalid_argument(ask):
    with pytest.raises(InferenceServerException, match=f"must be <= {MAX_BATCH}") as caught:
        ask("tiny", text=texts(*["w1"] * (MAX_BATCH + 1)))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_an_ordinary_model_joins_requests_of_one_shape(tiny_server, ask):
    # The dynamic batcher joins neighbours of one shape only, and so must the answers' parts be.
    arrays = [np.full((1, 3), n, np.float32) for n in range(16)]
    before = statistics(tiny_server, "double")["execution_count"]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda x: ask("double", x=x)["y"], arrays))
    assert statistics(tiny_server, "double")["execution_count"] - before < 16
    for array, answer in zip(arrays, answers, strict=True):
        np.testing.assert_array_equal(answer, array * 2)


def test_an_ordinary_model_answers_requests_of_several_shapes_at_once(ask):
    arrays = [np.full((1 + n % 2, 2 + n % 2), n, np.float32) for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda x: ask("double", x=x)["y"], arrays))
    for array, answer in zip(arrays, answers, strict=True):
        np.testing.assert_array_equal(answer, array * 2)


def test_a_model_without_batches_takes_its_whole_shape(ask):
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(ask("unbatched", x=array)["y"], array * 2)


def test_only_requested_outputs_are_sent(ask):
    array = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert set(ask("parts", x=array)) == {"total", "same"}
    answer = ask("parts", outputs=["total"], x=array)
    assert set(answer) == {"total"}
    np.testing.assert_array_equal(answer["total"].reshape(-1), array.sum(axis=1))


def test_a_part_that_fails_fails_its_requests_alone(ask):
    with ThreadPoolExecutor(8) as pool:
        good = [pool.submit(ask, "parts", x=np.full((1, 4), n, np.float32)) for n in range(10)]
        bad = [pool.submit(ask, "parts", x=np.ones((1, 3), np.float32)) for _ in range(5)]
    for number, future in enumerate(good):
        assert future.result()["total"].reshape(-1).tolist() == [4.0 * number]
    for future in bad:
        with pytest.raises(InferenceServerException, match=r"ONNX Runtime: .*Reshape"):
            future.result()
