"""Our commands beside those of Kedro: assess, compare, doctor, experiment, score, slurm."""
