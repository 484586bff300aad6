"""Our commands beside those of Kedro: assess, compare, doctor, experiment, leave-events-out, score, slurm."""
