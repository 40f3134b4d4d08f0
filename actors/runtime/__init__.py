"""The kernel of the runtime: nobody outside `actors` imports it but the supervisors."""
