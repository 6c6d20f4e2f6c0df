"""Run requests to results: finding what is done, training what is not, in this process or in others."""
