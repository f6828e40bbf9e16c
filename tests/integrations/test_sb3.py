"""Policies for RecurrentPPO: the results of sb3-contrib's own, and the states that a recurrent policy must see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed: pip install 'elman[rl]'")

import gymnasium
import numpy as np
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from elman.errors import SettingError
from elman.integrations.rl.sb3 import CnnLstmPolicy, MlpLstmPolicy, MultiInputLstmPolicy
from elman.layers.recurrent import Recurrent


class Drift(gymnasium.Env):  # type: ignore[type-arg]
    """An observation that drifts with the actions, in episodes of a few steps."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)

    def __init__(self, steps: int = 5) -> None:
        self.steps, self.count, self.place = steps, 0, np.zeros(3, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.count, self.place = 0, self.np_random.normal(size=3).astype(np.float32)
        return self.place, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.count += 1
        self.place = self.place + np.float32(0.3 * (2 * action - 1)) * np.array([1, -1, 0.5], np.float32)
        return self.place, float(-abs(self.place).sum()), self.count >= self.steps, False, {}


SMALL = {"lstm_hidden_size": 8, "net_arch": [6]}


def model(policy: Any, steps: tuple[int, ...] = (5, 7), **policy_options: Any) -> RecurrentPPO:
    environment = DummyVecEnv([lambda n=n: Drift(n) for n in steps])
    environment.seed(0)
    return RecurrentPPO(
        policy, environment, seed=0, device="cpu", n_steps=12, batch_size=10, n_epochs=1,
        policy_kwargs=SMALL | policy_options,
    )  # fmt: skip


def collected(policy: Any = MlpLstmPolicy, **policy_options: Any) -> RecurrentPPO:
    """Return a model whose buffer is filled by one rollout, and that was not trained."""
    learner = model(policy, **policy_options)
    learner.train = lambda: None  # type: ignore[method-assign]
    learner.learn(24)
    return learner


@pytest.mark.parametrize(
    "options",
    [{}, {"n_lstm_layers": 2}, {"shared_lstm": True, "enable_critic_lstm": False}, {"enable_critic_lstm": False}],
    ids=str,
)
def test_a_first_update_is_that_of_the_stock_policy(options: dict[str, Any]) -> None:
    runs = []
    for policy in ("MlpLstmPolicy", MlpLstmPolicy):
        run = model(policy, **options)  # seeds the generators, which both runs draw from
        runs.append(run)
        run.batch_size = None  # one batch with sequences of both environments, cut at each beginning of an episode
        run.max_grad_norm = 1e9
        run.learn(24)
    stock, ours = runs
    assert np.array_equal(stock.rollout_buffer.actions, ours.rollout_buffer.actions)
    for name in ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "values", "log_probs", "advantages"):
        np.testing.assert_allclose(
            getattr(ours.rollout_buffer, name), getattr(stock.rollout_buffer, name), rtol=1e-5, atol=1e-6
        )
    names = {name for name, p in stock.policy.named_parameters() if p.grad is not None}
    assert len(names) >= 12
    for (name, theirs), (same, own) in zip(
        stock.policy.named_parameters(), ours.policy.named_parameters(), strict=True
    ):
        assert name == same
        if name in names:
            torch.testing.assert_close(own.grad, theirs.grad, rtol=1e-5, atol=1e-5 * float(theirs.grad.abs().max()))


def test_a_sequence_is_one_call_of_the_layer() -> None:
    policy = model(MlpLstmPolicy).policy
    calls: list[Any] = []
    policy.lstm_actor.register_forward_hook(lambda *call: calls.append(call))
    starts_BT = torch.zeros(2, 6)
    starts_BT[0, 3] = starts_BT[1, 0] = starts_BT[1, 5] = 1
    states = torch.randn(1, 2, 8), torch.randn(1, 2, 8)
    features = torch.randn(12, 3)
    y, after = policy._process_sequence(features, states, starts_BT.flatten(), policy.lstm_actor)
    assert len(calls) == 1
    stock = torch.nn.LSTM(3, 8)
    stock.load_state_dict(policy.lstm_actor.state_dict())
    y_right, after_right = RecurrentActorCriticPolicy._process_sequence(features, states, starts_BT.flatten(), stock)
    torch.testing.assert_close(y, y_right)
    torch.testing.assert_close(after, after_right)


@pytest.mark.parametrize("with_gradients", [False, True], ids=["collecting", "training"])
def test_only_the_environment_that_begins_anew_loses_its_state(with_gradients: bool) -> None:
    policy = model(MlpLstmPolicy).policy
    features, states = torch.randn(3, 3), (torch.randn(1, 3, 8), torch.randn(1, 3, 8))
    with torch.set_grad_enabled(with_gradients):
        carried, _ = policy._process_sequence(features, states, torch.zeros(3), policy.lstm_actor)
        y, after = policy._process_sequence(features, states, torch.tensor([0.0, 1.0, 0.0]), policy.lstm_actor)
        zeros = torch.zeros(1, 1, 8), torch.zeros(1, 1, 8)
        alone, after_alone = policy._process_sequence(features[1:2], zeros, torch.zeros(1), policy.lstm_actor)
    torch.testing.assert_close(y[[0, 2]], carried[[0, 2]])
    torch.testing.assert_close(y[1:2], alone)
    torch.testing.assert_close(after[0][:, 1:2], after_alone[0])
    assert not torch.allclose(y[1], carried[1], atol=1e-3)


def test_a_step_leaves_the_state_that_it_was_given() -> None:
    """The buffer keeps the state before a step; the value of a last observation must not move it on."""
    policy = model(MlpLstmPolicy).policy
    states = torch.randn(1, 2, 8), torch.randn(1, 2, 8)
    before = [state.clone() for state in states]
    with torch.no_grad():
        for starts in (torch.zeros(2), torch.tensor([1.0, 0.0])):
            first = policy.predict_values(torch.ones(2, 3), states, starts)
            again = policy.predict_values(torch.ones(2, 3), states, starts)
            assert torch.equal(first, again)
    assert all(map(torch.equal, states, before))


@pytest.mark.parametrize("options", [{}, {"n_lstm_layers": 2}], ids=str)
def test_a_batch_begins_with_the_state_of_its_first_step(options: dict[str, Any]) -> None:
    """Without an update in between, the policy gives each action of the buffer the probability that it had."""
    learner = collected(**options)
    learner.policy.set_training_mode(True)
    number = 0
    for batch in learner.rollout_buffer.get(7):  # cuts episodes at any step
        mask = batch.mask > 0
        arguments = batch.observations, batch.actions.flatten()
        values, log_probs, _ = learner.policy.evaluate_actions(*arguments, batch.lstm_states, batch.episode_starts)
        torch.testing.assert_close(log_probs[mask], batch.old_log_prob[mask], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(values.flatten()[mask], batch.old_values[mask], rtol=1e-4, atol=1e-5)
        number += int(mask.sum())
        others = type(batch.lstm_states)(*[tuple(s + 0.5 for s in pair) for pair in batch.lstm_states])
        moved, _, _ = learner.policy.evaluate_actions(*arguments, others, batch.episode_starts)
        if batch.episode_starts[0] == 0:  # a wrong state is seen
            assert not torch.allclose(moved.flatten()[mask], batch.old_values[mask], atol=1e-4)
    assert number == 24


def test_what_lies_in_the_padding_changes_nothing() -> None:
    policy = model(MlpLstmPolicy).policy
    states, starts = (torch.randn(1, 2, 8), torch.randn(1, 2, 8)), torch.zeros(8)
    features = torch.randn(8, 3)
    other = features.clone()
    other[2:4] = 1e6  # behind the two steps of the first sequence
    y, _ = policy._process_sequence(features, states, starts, policy.lstm_actor)
    y_other, _ = policy._process_sequence(other, states, starts, policy.lstm_actor)
    rows = [0, 1, 4, 5, 6, 7]
    assert torch.equal(y[rows], y_other[rows])


def test_an_episode_that_starts_forgets_the_last_one_in_predict() -> None:
    policy = model(MlpLstmPolicy).policy
    observation = np.ones((2, 3), np.float32)
    _, state = policy.predict(observation, deterministic=True)
    _, anew = policy.predict(observation, state=state, episode_start=np.array([True, False]), deterministic=True)
    np.testing.assert_allclose(anew[0][:, 0], state[0][:, 0], rtol=1e-6)
    assert not np.allclose(anew[0][:, 1], state[0][:, 1])


def test_models_save_and_load(tmp_path: Path) -> None:
    learner = collected()
    learner.save(tmp_path / "model")
    loaded = RecurrentPPO.load(tmp_path / "model")
    assert type(loaded.policy) is MlpLstmPolicy
    assert isinstance(loaded.policy.lstm_actor, Recurrent)
    learner.policy.save(tmp_path / "policy")
    alone = MlpLstmPolicy.load(tmp_path / "policy", device="cpu")
    observation = np.ones((2, 3), np.float32)
    actions, state = learner.predict(observation, deterministic=True)
    for other in (loaded, alone):
        same, state_of_other = other.predict(observation, deterministic=True)
        assert np.array_equal(actions, same)
        assert all(map(np.array_equal, state, state_of_other))


def test_weights_go_from_the_stock_policy_to_ours_and_back() -> None:
    stock, ours = model("MlpLstmPolicy").policy, model(MlpLstmPolicy).policy
    stock.load_state_dict(ours.state_dict())
    ours.load_state_dict(stock.state_dict())
    assert isinstance(ours.lstm_critic, Recurrent)
    assert all(a is b for a, b in zip(ours.parameters(), ours.optimizer.param_groups[0]["params"], strict=True))


def test_images_and_dictionaries_have_policies_too() -> None:
    image, numbers = spaces.Box(0, 255, (1, 36, 36), np.uint8), spaces.Box(-1, 1, (2,), np.float32)
    for policy_class, space in ((CnnLstmPolicy, image), (MultiInputLstmPolicy, spaces.Dict(a=numbers, b=numbers))):
        policy = policy_class(space, spaces.Discrete(2), lambda _: 1e-3, lstm_hidden_size=4)
        _, state = policy.predict(space.sample())
        assert state[0].shape == (1, 1, 4)
        assert isinstance(policy.lstm_actor, Recurrent)


@pytest.mark.parametrize("option", [{"batch_first": True}, {"bidirectional": True}, {"proj_size": 2}], ids=str)
def test_options_that_the_buffer_cannot_hold_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=f"no {next(iter(option))}"):
        model(MlpLstmPolicy, lstm_kwargs=option)


def test_a_layer_that_no_engine_runs_stays_torchs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elman.layers.accelerate._why_not", lambda layer: "no engine runs it")
    with pytest.warns(UserWarning, match="lstm_actor, lstm_critic stay torch's.*no engine runs it"):
        policy = model(MlpLstmPolicy).policy
    y, _ = policy._process_sequence(torch.ones(4, 3), (torch.ones(1, 2, 8),) * 2, torch.ones(4), policy.lstm_actor)
    assert y.shape == (4, 8)
