"""Our commands beside those of Kedro: `kedro assess`, `kedro compare`, `kedro score`, `kedro slurm`."""
