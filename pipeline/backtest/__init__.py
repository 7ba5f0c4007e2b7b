"""The loop replayed on labelled data with an oracle: the same stages, no services, no people.

`replay` runs the real stages; a `plan` compares strategies by retraining a small head on cached
features of a frozen encoder (`fast`, minutes) or by real trainings (`full`).
"""

from pipeline.backtest.replay import answer_query as answer_query
from pipeline.backtest.replay import replay as replay
from pipeline.backtest.replay import replay_round as replay_round
from pipeline.backtest.replay import take_in as take_in
