"""What people read: results as documents, and documents as pages and pictures that need nothing else."""
