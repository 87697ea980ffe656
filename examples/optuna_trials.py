"""An Optuna study of a scikit-learn network, kept as the table that docs/import.md imports.

    python optuna_trials.py optuna_trials.csv

Each trial is one training: what does momentum do to the error on the diabetes data, at three learning
rates, over five seeds? The seed fixes the split into train, validation and test, and the first weights.
"""

import sys
import warnings

import optuna
from sklearn.datasets import load_diabetes
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SPACE = {"momentum": [0.0, 0.9], "lr": [0.0001, 0.001, 0.01], "seed": [0, 1, 2, 3, 4]}


def train(trial):
    """Train once; return the validation error, and keep the test error beside it."""
    momentum, lr, seed = (trial.suggest_categorical(name, values) for name, values in SPACE.items())
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, random_state=seed)
    x, x_val, y, y_val = train_test_split(x, y, test_size=0.3, random_state=seed)
    network = MLPRegressor(solver="sgd", momentum=momentum, learning_rate_init=lr, max_iter=100, random_state=seed)
    model = make_pipeline(StandardScaler(), network)
    # At a high rate the weights of some networks become infinite: scikit-learn raises ValueError.
    model.fit(x, y)
    trial.set_user_attr("test_rmse", root_mean_squared_error(y_test, model.predict(x_test)))
    return root_mean_squared_error(y_val, model.predict(x_val))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # that 100 epochs are few
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.GridSampler(SPACE, seed=0))
    study.optimize(train, catch=ValueError)
    columns = ("number", "value", "params", "user_attrs", "state")
    study.trials_dataframe(columns).to_csv(sys.argv[1], index=False)
