#!/bin/bash
# The tasks of array_job.py on SLURM. From the folder of both:
#
#   python array_job.py plan /shared/era5.zarr /shared/work --partitions 64
#   job=$(sbatch --parsable array_job.sh /shared/work)
#   sbatch --dependency=afterok:$job --wrap "python array_job.py finish /shared/work mean.nc"
#
# Without SLURM, the tasks one after the other:
#
#   for i in $(seq 0 15); do SLURM_ARRAY_TASK_ID=$i SLURM_ARRAY_TASK_COUNT=16 ./array_job.sh work; done
#
#SBATCH --job-name=chunkwise
#SBATCH --array=0-15
#SBATCH --cpus-per-task=4
#SBATCH --mem=8000M
#SBATCH --requeue
set -eu
# Credentials of stores come from the environment: `sbatch --export=ALL` keeps that of the shell.
exec "${PYTHON:-python}" "${SLURM_SUBMIT_DIR:-$(dirname "$0")}/array_job.py" run "$1"
